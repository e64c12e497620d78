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

// Words that other blocks write or read meanwhile.  Nothing but a word itself is passed on, so that no order among words
// is needed, nor among those of a chunk, which are loaded at once.
struct __align__(CHUNK * sizeof(word)) Words {
  word of[CHUNK];
};

#if DOUBLE
#define TYPE "b64"
#define REGISTER "l"
#elif FLOAT16 || BFLOAT16
#define TYPE "b16"
#define REGISTER "h"
#else
#define TYPE "b32"
#define REGISTER "r"
#endif
#define LOADED(k) "=" REGISTER(x.of[k])

DEVICE Words load_relaxed(const Words* from) {
  Words x;
#if CHUNK == 4
  asm volatile("ld.relaxed.gpu.global.v4." TYPE " {%0, %1, %2, %3}, [%4];"
               : LOADED(0), LOADED(1), LOADED(2), LOADED(3) : "l"(from) : "memory");
#elif CHUNK == 2
  asm volatile("ld.relaxed.gpu.global.v2." TYPE " {%0, %1}, [%2];" : LOADED(0), LOADED(1) : "l"(from) : "memory");
#else
  asm volatile("ld.relaxed.gpu.global." TYPE " %0, [%1];" : LOADED(0) : "l"(from) : "memory");
#endif
  return x;
}
DEVICE void store_relaxed(word* to, word x) {
  asm volatile("st.relaxed.gpu.global." TYPE " [%0], %1;" ::"l"(to), REGISTER(x) : "memory");
}
DEVICE void wait_a_little() {}
