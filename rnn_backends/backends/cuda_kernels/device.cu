// Operations of a GPU that plain C++ lacks.  All of PTX and of CUDA's own words are here; on a CPU,
// tests/kernels/shim.h stands in for this file.  Nothing is included, so that no CUDA headers are needed.

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 1)
#define DEVICE static __device__ __forceinline__
#define ALIGNED __align__(16)

// The type computed in, and the bits of a state as it lies in memory: of a real, or of a float16 or bfloat16.
#if DOUBLE
typedef double real;
typedef unsigned long long word;
#define MATH(name) name
#else
typedef float real;
#define MATH(name) name##f
#if FLOAT16 || BFLOAT16
typedef unsigned short word;
#else
typedef unsigned int word;
#endif
#endif

DEVICE int thread_index() { return threadIdx.x; }
DEVICE int block_index() { return blockIdx.x; }
DEVICE void block_barrier() { __syncthreads(); }
DEVICE real shuffle_xor(real value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }

DEVICE void* shared_memory() {
  extern __shared__ ALIGNED unsigned char memory[];
  return memory;
}

DEVICE unsigned int bits_of(float x) { return __float_as_uint(x); }
DEVICE float float_of(unsigned int bits) { return __uint_as_float(bits); }
DEVICE unsigned long long bits_of(double x) { return __double_as_longlong(x); }
DEVICE double double_of(unsigned long long bits) { return __longlong_as_double(bits); }
DEVICE unsigned short float16_of(float x) {
  unsigned short half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(x));
  return half;
}
DEVICE float float_of(unsigned short half) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(half));
  return x;
}

// A word that other blocks write or read meanwhile.  Nothing but the word itself is passed on, so that no
// order among words is needed.
DEVICE word load_relaxed(const word* from) {
  word x;
#if DOUBLE
  asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(x) : "l"(from) : "memory");
#elif FLOAT16 || BFLOAT16
  asm volatile("ld.relaxed.gpu.global.b16 %0, [%1];" : "=h"(x) : "l"(from) : "memory");
#else
  asm volatile("ld.relaxed.gpu.global.b32 %0, [%1];" : "=r"(x) : "l"(from) : "memory");
#endif
  return x;
}
DEVICE void store_relaxed(word* to, word x) {
#if DOUBLE
  asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(to), "l"(x) : "memory");
#elif FLOAT16 || BFLOAT16
  asm volatile("st.relaxed.gpu.global.b16 [%0], %1;" ::"l"(to), "h"(x) : "memory");
#else
  asm volatile("st.relaxed.gpu.global.b32 [%0], %1;" ::"l"(to), "r"(x) : "memory");
#endif
}
DEVICE void wait_a_little() {}
