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

#if MMA
// Two neighbouring numbers of 16 bits are one word then, for all who load or store them.
struct ALIGNED Pairs {
  unsigned int of[4];
};

DEVICE unsigned int load_relaxed(const unsigned int* from) {
  unsigned int x;
  asm volatile("ld.relaxed.gpu.global.b32 %0, [%1];" : "=r"(x) : "l"(from) : "memory");
  return x;
}
DEVICE Pairs load_relaxed(const Pairs* from) {
  Pairs x;
  asm volatile("ld.relaxed.gpu.global.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.of[0]), "=r"(x.of[1]), "=r"(x.of[2]), "=r"(x.of[3]) : "l"(from) : "memory");
  return x;
}
DEVICE void store_relaxed(unsigned int* to, unsigned int x) {
  asm volatile("st.relaxed.gpu.global.b32 [%0], %1;" ::"l"(to), "r"(x) : "memory");
}

// c += a b of a warp, in which c has 16 x 8 numbers, a 16 x 16, b 16 x 8.  Of lane 4 g + k, pairs that lie in a row of a:
// a[0] (g, 2k), a[1] (g + 8, 2k), a[2] (g, 2k + 8), a[3] (g + 8, 2k + 8); in a column of b: b[0] (2k, g),
// b[1] (2k + 8, g); and in a row of c: c[0], c[1] (g, 2k), c[2], c[3] (g + 8, 2k).
DEVICE void mma(float (&c)[4], const unsigned int (&a)[4], const unsigned int (&b)[2]) {
#if BFLOAT16
#define SHAPE "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
#else
#define SHAPE "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
#endif
  asm volatile(SHAPE " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif
