/* The walk for x86-64 processors with AVX-512. */
#include "kernel.h"
#include "target.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

static int runs(void) {
    return PROCESSOR_HAS_AVX512;
}

BEGIN_TARGET("avx2,fma,avx512f,avx512dq")

#define KERNEL kernel_avx512
#include "x86.h"
#define REGISTERS 32
#define EDGE(count) (MASK)((1u << ((count) < 0 ? 0 : (count))) - 1)
#define LOAD_PART(p, count) OP(maskz_loadu)(EDGE(count), p)
#define STORE_PART(p, v, count) OP(mask_storeu)(p, EDGE(count), v)
#define SELECT(m, a, b) OP(mask_blend)(m, b, a)

#define T float
#define V __m512
#define W 16
#define MASK __mmask16
#define OP(name) _mm512_##name##_ps
#define LT(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define LE(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)
#define LARGEST FLT_MAX
#define EXP2I(shifted) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(shifted), 23))
#define GATHER(p, c) _mm512_i32gather_ps(_mm512_loadu_si512(c), p, 4)
#define PICK(p, c)                                                                                                    \
    _mm512_setr_ps((p)[(c)[0]], (p)[(c)[1]], (p)[(c)[2]], (p)[(c)[3]], (p)[(c)[4]], (p)[(c)[5]], (p)[(c)[6]],         \
                   (p)[(c)[7]], (p)[(c)[8]], (p)[(c)[9]], (p)[(c)[10]], (p)[(c)[11]], (p)[(c)[12]], (p)[(c)[13]],     \
                   (p)[(c)[14]], (p)[(c)[15]])
#define ZIP_FIRST(a, b) \
    _mm512_permutex2var_ps(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b)
#define ZIP_LAST(a, b) \
    _mm512_permutex2var_ps(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), b)
#include "walk.h"

#include "undefine.h"
#undef MASK
#undef LT
#undef LE
#undef ZIP_FIRST
#undef ZIP_LAST
#define T double
#define V __m512d
#define W 8
#define MASK __mmask8
#define OP(name) _mm512_##name##_pd
#define LT(a, b) _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ)
#define LE(a, b) _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ)
#define LARGEST DBL_MAX
#define EXP2I(shifted) _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(shifted), 52))
#define GATHER(p, c) _mm512_i32gather_pd(_mm256_loadu_si256((const __m256i *)(c)), p, 8)
#define PICK(p, c)                                                                                            \
    _mm512_setr_pd((p)[(c)[0]], (p)[(c)[1]], (p)[(c)[2]], (p)[(c)[3]], (p)[(c)[4]], (p)[(c)[5]], (p)[(c)[6]], \
                   (p)[(c)[7]])
#define ZIP_FIRST(a, b) _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b)
#define ZIP_LAST(a, b) _mm512_permutex2var_pd(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b)
#include "walk.h"

END_TARGET
#include "table.h"
#endif
