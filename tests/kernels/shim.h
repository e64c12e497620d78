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
typedef unsigned long long Bits;
struct Thread {
  int thread, block;
};
extern Thread* now;
void block_barrier();
void cluster_barrier();
void wait_a_little();
double shuffle_xor(double value, int mask);
void* shared_memory(int peer);  // of a block of this cluster; -1: of this block
Bits load_relaxed(const void* from, int bytes);
void store_relaxed(void* to, Bits bits, int bytes);
void fence();
void store_to_peer(void* to, int peer, Bits bits, int bytes);
int run(int grid, int block, int cluster, Bits shared, Bits seed, void (*thread)(void**), int count, void** arguments,
        const decltype(sizeof 0)* sizes, const bool* written);

template <class T>
Bits bits_of(const T& x) {
  Bits bits = 0;
  __builtin_memcpy(&bits, &x, sizeof x);
  return bits;
}
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

// Of a number of 2, 4 or 8 bytes.
template <class T>
DEVICE T load_relaxed(const T* from) {
  const shim::Bits bits = shim::load_relaxed(from, sizeof(T));
  T x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
template <class T>
DEVICE void store_relaxed(T* to, T x) {
  shim::store_relaxed(to, shim::bits_of(x), sizeof x);
}
template <class T>
DEVICE void store_to_peer(T* to, int peer, T x) {
  shim::store_to_peer(to, peer, shim::bits_of(x), sizeof x);
}
DEVICE void fence() { shim::fence(); }  // fence.acq_rel.gpu, which no kernel needs

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

template <class T>
struct IsWritten {
  static constexpr bool value = false;
};
template <class T>
struct IsWritten<T*> {
  static constexpr bool value = true;
};
template <class T>
struct IsWritten<const T*> {
  static constexpr bool value = false;
};

// Runs a kernel; `sizes` has the bytes of the arrays among its arguments.
template <class... P>
int run(int grid, int block, int cluster, Bits shared, Bits seed, void (*kernel)(P...), void (*thread)(void**),
        void** arguments, const decltype(sizeof 0)* sizes) {
  static constexpr bool written[] = {IsWritten<P>::value...};
  return run(grid, block, cluster, shared, seed, thread, sizeof...(P), arguments, sizes, written);
}
}  // namespace shim
