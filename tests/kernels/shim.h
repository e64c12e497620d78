// Stands in for rnn_backends/backends/kernels/device.cu on a CPU: the same names, every CUDA thread a fiber.
// Nothing is included, which makes a kernel compile several times faster.
#pragma once

#define KERNEL static void
#define DEVICE static inline
#define ALIGNED __attribute__((aligned(16)))

#if DOUBLE
typedef double real;
typedef unsigned long long word;
#define MATH(name) __builtin_##name
#else
typedef float real;
typedef unsigned int word;
#define MATH(name) __builtin_##name##f
#endif

namespace shim {
struct Thread {
  int thread, block;
};
extern Thread* now;
void block_barrier();
void cluster_barrier();
void wait_a_little();
double shuffle_xor(double value, int mask);
void* shared_memory(int peer);  // of a block of this cluster; -1: of this block
int run(int grid, int block, int cluster, unsigned long long shared, unsigned long long seed, void (*thread)(void**),
        void** arguments);
}  // namespace shim

DEVICE int thread_index() { return shim::now->thread; }
DEVICE int block_index() { return shim::now->block; }
DEVICE void block_barrier() { shim::block_barrier(); }
DEVICE void cluster_barrier() { shim::cluster_barrier(); }
DEVICE void wait_a_little() { shim::wait_a_little(); }
DEVICE real shuffle_xor(real value, int mask) { return real(shim::shuffle_xor(value, mask)); }
DEVICE void* shared_memory() { return shim::shared_memory(-1); }

DEVICE word bits_of(real x) {
  word bits;
  __builtin_memcpy(&bits, &x, sizeof x);
  return bits;
}
DEVICE real not_a_number() { return __builtin_nan(""); }

DEVICE real load_relaxed(const real* from) { return *(const volatile real*)from; }
DEVICE void store_relaxed(real* to, real x) { *(volatile real*)to = x; }
DEVICE void store_to_peer(real* to, int peer, real x) {
  const char* here = (const char*)shim::shared_memory(-1);
  *(real*)((char*)shim::shared_memory(peer) + ((const char*)to - here)) = x;
}

// To float16 and back: 11 significant bits, to nearest, ties to even; below 2^-14, multiples of 2^-24.
DEVICE float rounded_to_half(float x) {
  if (!(__builtin_fabsf(x) < 65520)) return x != x ? x : __builtin_copysignf(__builtin_inff(), x);
  int exponent;
  __builtin_frexpf(x, &exponent);
  const float unit = __builtin_ldexpf(1, exponent - 11 < -24 ? -24 : exponent - 11);
  return __builtin_copysignf(__builtin_rintf(x / unit) * unit, x);
}

namespace shim {
template <int... I>
struct Indices {};
template <int N, int... I>
struct FirstIndices : FirstIndices<N - 1, N - 1, I...> {};
template <int... I>
struct FirstIndices<0, I...> {
  typedef Indices<I...> type;
};

template <class... P, int... I>
void call(void (*kernel)(P...), void** arguments, Indices<I...>) {
  kernel(*(P*)arguments[I]...);
}
template <class... P>
void call(void (*kernel)(P...), void** arguments) {
  call(kernel, arguments, typename FirstIndices<sizeof...(P)>::type());
}
}  // namespace shim
