/* The walk for x86-64 processors with AVX2 and FMA. */
#include "kernel.h"
#include "target.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

static int runs(void) {
    return PROCESSOR_HAS_AVX2;
}

BEGIN_TARGET("avx2,fma")

static const int64_t edges[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

#define KERNEL kernel_avx2
#include "x86.h"
#define REGISTERS 16
#define EDGE(count) _mm256_loadu_si256((const __m256i *)((const T *)(edges + 8) - (count)))
#define LOAD_PART(p, count) OP(maskload)(p, EDGE((count) < 0 ? 0 : (count)))
#define STORE_PART(p, v, count) OP(maskstore)(p, EDGE(count), v)
#define LT(a, b) OP(cmp)(a, b, _CMP_LT_OQ)
#define LE(a, b) OP(cmp)(a, b, _CMP_LE_OQ)
#define SELECT(m, a, b) OP(blendv)(b, a, m)
#define ZIP_FIRST(a, b) OP(permute2f128)(OP(unpacklo)(a, b), OP(unpackhi)(a, b), 0x20)
#define ZIP_LAST(a, b) OP(permute2f128)(OP(unpacklo)(a, b), OP(unpackhi)(a, b), 0x31)

#define T float
#define V __m256
#define W 8
#define OP(name) _mm256_##name##_ps
#define LARGEST FLT_MAX
#define EXP2I(shifted) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(shifted), 23))
#define GATHER(p, c) _mm256_i32gather_ps(p, _mm256_loadu_si256((const __m256i *)(c)), 4)
#define PICK(p, c) \
    _mm256_setr_ps((p)[(c)[0]], (p)[(c)[1]], (p)[(c)[2]], (p)[(c)[3]], (p)[(c)[4]], (p)[(c)[5]], (p)[(c)[6]], (p)[(c)[7]])
#include "walk.h"

#include "undefine.h"
#define T double
#define V __m256d
#define W 4
#define OP(name) _mm256_##name##_pd
#define LARGEST DBL_MAX
#define EXP2I(shifted) _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(shifted), 52))
#define GATHER(p, c) _mm256_i32gather_pd(p, _mm_loadu_si128((const __m128i *)(c)), 8)
#define PICK(p, c) _mm256_setr_pd((p)[(c)[0]], (p)[(c)[1]], (p)[(c)[2]], (p)[(c)[3]])
#include "walk.h"

END_TARGET
#include "table.h"
#endif
