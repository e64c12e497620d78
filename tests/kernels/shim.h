// Stands in for rnn_backends/backends/cuda_kernels/device.cu on a CPU: the same names, every CUDA thread a fiber.
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
typedef unsigned long long Bits, Size;
struct Thread {
  int thread, block;
};
extern Thread* now;
void block_barrier();
void wait_a_little();
double shuffle_xor(double value, int mask);
void mma(float (&c)[4], const float (&a)[8], const float (&b)[4]);
void* shared_memory();
Bits load_relaxed(const void* from, int bytes);
void store_relaxed(void* to, Bits bits, int bytes);
void fence();
int run(int grid, int block, Bits shared, Bits seed, void (*thread)(void**), int count, void** arguments,
        const Size* sizes, const Size* pointers, int pointer_count, const bool* written);

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
DEVICE void wait_a_little() { shim::wait_a_little(); }
DEVICE real shuffle_xor(real value, int mask) { return real(shim::shuffle_xor(value, mask)); }
DEVICE void* shared_memory() { return shim::shared_memory(); }

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

struct __attribute__((aligned(CHUNK * sizeof(word)))) Words {
  word of[CHUNK];
};

// Of a number of 2, 4 or 8 bytes.
template <class T>
DEVICE T load_relaxed(const T* from) {
  const shim::Bits bits = shim::load_relaxed(from, sizeof(T));
  T x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
DEVICE Words load_relaxed(const Words* from) {  // in no order
  Words x;
  for (int e = CHUNK - 1; e >= 0; --e) x.of[e] = load_relaxed(from->of + e);
  return x;
}
template <class T>
DEVICE void store_relaxed(T* to, T x) {
  shim::store_relaxed(to, shim::bits_of(x), sizeof x);
}
struct __attribute__((aligned(16))) Pairs {
  unsigned int of[4];
};
DEVICE Pairs load_relaxed(const Pairs* from) {  // in no order
  Pairs x;
  for (int e = 3; e >= 0; --e) x.of[e] = load_relaxed(from->of + e);
  return x;
}
DEVICE void fence() { shim::fence(); }  // fence.acq_rel.gpu, which no kernel needs

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

// The two numbers of 16 bits in each of some registers.
template <int N>
DEVICE void unpack(const unsigned int (&pairs)[N], float (&numbers)[2 * N]) {
  for (int i = 0; i < 2 * N; ++i) {
    const unsigned int bits = pairs[i / 2] >> i % 2 * 16 & 0xFFFF;
#if BFLOAT16
    numbers[i] = float_of(bits << 16);
#else
    numbers[i] = float_of((unsigned short)bits);
#endif
  }
}
DEVICE void mma(float (&c)[4], const unsigned int (&a)[4], const unsigned int (&b)[2]) {
  float left[8], right[4];
  unpack(a, left), unpack(b, right);
  shim::mma(c, left, right);
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

// Runs a kernel, given the bytes of its arguments' values, and pointers in them: argument, offset, bytes, and whether
// the kernel writes there, as it does where it has a pointer that is not const.
template <class... P>
int run(int grid, int block, Bits shared, Bits seed, void (*kernel)(P...), void (*thread)(void**),
        void** arguments, const Size* sizes, const Size* pointers, int pointer_count) {
  static constexpr bool written[] = {IsWritten<P>::value...};
  return run(grid, block, shared, seed, thread, sizeof...(P), arguments, sizes, pointers, pointer_count,
             written);
}
}  // namespace shim
