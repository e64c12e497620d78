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
#define MATH(name) __builtin_##name##f
#if FLOAT16 || BFLOAT16
typedef unsigned short word;
#else
typedef unsigned int word;
#endif
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

template <class To, class From>
To same_bits(From x) {
  static_assert(sizeof(To) == sizeof(From), "");
  To bits;
  __builtin_memcpy(&bits, &x, sizeof x);
  return bits;
}
DEVICE unsigned int bits_of(float x) { return same_bits<unsigned int>(x); }
DEVICE float float_of(unsigned int bits) { return same_bits<float>(bits); }
DEVICE unsigned long long bits_of(double x) { return same_bits<unsigned long long>(x); }
DEVICE double double_of(unsigned long long bits) { return same_bits<double>(bits); }

DEVICE word load_relaxed(const word* from) { return *(const volatile word*)from; }
DEVICE void store_relaxed(word* to, word x) { *(volatile word*)to = x; }
DEVICE void store_to_peer(real* to, int peer, real x) {
  const char* here = (const char*)shim::shared_memory(-1);
  *(real*)((char*)shim::shared_memory(peer) + ((const char*)to - here)) = x;
}

// To float16, to nearest, ties to even: 11 significant bits; below 2^-14, multiples of 2^-24.
DEVICE unsigned short float16_of(float x) {
  const unsigned int bits = bits_of(x), sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
  if (x != x) return 0x7FFF;
  if (size >= 0x477FF000) return sign | 0x7C00;  // from 65520 on
  if (size < 0x38800000) return sign | (unsigned int)__builtin_rintf(float_of(size) * 0x1p24f);
  return sign | (size + 0xFFF + (size >> 13 & 1) - (112 << 23)) >> 13;
}
DEVICE float float_of(unsigned short half) {
  const unsigned int sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, digits = half & 0x3FF;
  if (exponent == 31) return float_of(sign | 0x7F800000 | digits << 13);
  if (exponent == 0) return (sign ? -1.0f : 1.0f) * digits * 0x1p-24f;
  return float_of(sign | (exponent + 112) << 23 | digits << 13);
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
