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
#define FUSED 1
#define REGISTERS 16
#define LOAD(p) OP(loadu)(p)
#define LOAD_ALIGNED(p) OP(load)(p)
#define STORE(p, v) OP(storeu)(p, v)
#define EDGE(count) _mm256_loadu_si256((const __m256i *)((const T *)(edges + 8) - (count)))
#define LOAD_PART(p, count) OP(maskload)(p, EDGE((count) < 0 ? 0 : (count)))
#define STORE_PART(p, v, count) OP(maskstore)(p, EDGE(count), v)
#define SET1(c) OP(set1)(c)
#define ADD(a, b) OP(add)(a, b)
#define SUB(a, b) OP(sub)(a, b)
#define MUL(a, b) OP(mul)(a, b)
#define DIV(a, b) OP(div)(a, b)
#define FMA(a, b, c) OP(fmadd)(a, b, c)
#define FNMA(a, b, c) OP(fnmadd)(a, b, c)
#define MINX(limit, x) OP(min)(limit, x)
#define MAXX(limit, x) OP(max)(limit, x)
#define ABS(x) OP(andnot)(SET1(-0.0f), x)
#define COPYSIGN(a, x) OP(or)(a, OP(and)(SET1(-0.0f), x))
#define LT(a, b) OP(cmp)(a, b, _CMP_LT_OQ)
#define LE(a, b) OP(cmp)(a, b, _CMP_LE_OQ)
#define SELECT(m, a, b) OP(blendv)(b, a, m)

#define T float
#define V __m256
#define W 8
#define OP(name) _mm256_##name##_ps
#define LARGEST FLT_MAX
#define EXP2I(shifted) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(shifted), 23))
#include "walk.h"

#include "undefine.h"
#define T double
#define V __m256d
#define W 4
#define OP(name) _mm256_##name##_pd
#define LARGEST DBL_MAX
#define EXP2I(shifted) _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(shifted), 52))
#include "walk.h"

END_TARGET
#include "table.h"
#endif
