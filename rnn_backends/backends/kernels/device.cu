// What a GPU does and plain C++ does not.  All of PTX and of CUDA's own words are here; on a CPU,
// tests/kernels/shim.h stands in for this file.  Nothing is included, so that no CUDA headers are needed.

#if SLICES > 1 && CLUSTER
#define KERNEL extern "C" __global__ void __cluster_dims__(SLICES, 1, 1) __launch_bounds__(THREADS, 1)
#else
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 1)
#endif
#define DEVICE static __device__ __forceinline__
#define ALIGNED __align__(16)

#if DOUBLE
typedef double real;
typedef unsigned long long word;
#define MATH(name) name
#else
typedef float real;
typedef unsigned int word;
#define MATH(name) name##f
#endif

DEVICE int thread_index() { return threadIdx.x; }
DEVICE int block_index() { return blockIdx.x; }
DEVICE void block_barrier() { __syncthreads(); }
DEVICE real shuffle_xor(real value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }

DEVICE void* shared_memory() {
  extern __shared__ ALIGNED unsigned char memory[];
  return memory;
}

#if DOUBLE
DEVICE word bits_of(real x) { return __double_as_longlong(x); }
DEVICE real not_a_number() { return __longlong_as_double(0x7FF8000000000000ll); }
#else
DEVICE word bits_of(real x) { return __float_as_uint(x); }
DEVICE real not_a_number() { return __uint_as_float(0x7FC00000u); }
#endif

// To float16 and back.
DEVICE float rounded_to_half(float x) {
  unsigned short half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(x));
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(half));
  return x;
}

// A word that other blocks write or read meanwhile.  Nothing but the word itself is passed on, so that no
// order among words is needed.
DEVICE real load_relaxed(const real* from) {
  real x;
#if DOUBLE
  asm volatile("ld.relaxed.gpu.global.f64 %0, [%1];" : "=d"(x) : "l"(from) : "memory");
#else
  asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(x) : "l"(from) : "memory");
#endif
  return x;
}
DEVICE void store_relaxed(real* to, real x) {
#if DOUBLE
  asm volatile("st.relaxed.gpu.global.f64 [%0], %1;" ::"l"(to), "d"(x) : "memory");
#else
  asm volatile("st.relaxed.gpu.global.f32 [%0], %1;" ::"l"(to), "f"(x) : "memory");
#endif
}
DEVICE void wait_a_little() {}

#if CLUSTER
// Stores to where another block of the cluster has what lies at `to` in this one.
DEVICE void store_to_peer(real* to, int peer, real x) {
  unsigned int here = (unsigned int)__cvta_generic_to_shared(to), there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(peer));
#if DOUBLE
  asm volatile("st.shared::cluster.f64 [%0], %1;" ::"r"(there), "d"(x) : "memory");
#else
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there), "f"(x) : "memory");
#endif
}
DEVICE void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
#endif
