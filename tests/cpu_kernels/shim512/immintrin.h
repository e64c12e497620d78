/* Stands in for the AVX-512 that avx512.c uses, number by number, on any processor of 64 bits.
 *
 * With this folder first among those of headers, the walk with vectors of 64 bytes, 32 registers and masks is compiled
 * and tested where there is no AVX-512.  That proves its logic, not the instructions: what they do is written down here
 * as Intel's manual has it. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#undef BEGIN_TARGET
#define BEGIN_TARGET(names)
#undef END_TARGET
#define END_TARGET
#undef PROCESSOR_HAS_AVX512
#define PROCESSOR_HAS_AVX512 1

typedef float __m512 __attribute__((vector_size(64)));
typedef double __m512d __attribute__((vector_size(64)));
typedef int64_t __m512i __attribute__((vector_size(64)));
typedef uint16_t __mmask16;
typedef uint8_t __mmask8;
typedef uint32_t shim_words __attribute__((vector_size(64)));
typedef uint64_t shim_longs __attribute__((vector_size(64)));
typedef int32_t shim_ints __attribute__((vector_size(64)));
typedef int32_t shim_loose __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t __m256i; /* what lies at an address */

#define _CMP_LT_OQ 0x11
#define _CMP_LE_OQ 0x12

#define SHIM_LANES(type, expression)                    \
    type result;                                        \
    for (int i = 0; i < (int)(sizeof result / sizeof result[0]); i++) \
        result[i] = expression;                         \
    return result;

/* A minimum or maximum is the second operand where one is NaN, and where both are zeros. */
#define SHIM_NUMBERS(end, vector, number, mask, words, fused)                                                         \
    INLINE vector _mm512_loadu_##end(const void *from) {                                                              \
        vector result;                                                                                                \
        memcpy(&result, from, sizeof result);                                                                         \
        return result;                                                                                                \
    }                                                                                                                 \
    INLINE vector _mm512_load_##end(const void *from) {                                                               \
        if ((uintptr_t)from % sizeof(vector))                                                                         \
            __builtin_trap();                                                                                         \
        return _mm512_loadu_##end(from);                                                                              \
    }                                                                                                                 \
    INLINE void _mm512_storeu_##end(void *to, vector a) { memcpy(to, &a, sizeof a); }                                 \
    INLINE vector _mm512_maskz_loadu_##end(mask m, const void *from) {                                                \
        SHIM_LANES(vector, m >> i & 1 ? ((const number *)from)[i] : 0)                                                \
    }                                                                                                                 \
    INLINE void _mm512_mask_storeu_##end(void *to, mask m, vector a) {                                                \
        for (int i = 0; i < (int)(sizeof a / sizeof a[0]); i++)                                                       \
            if (m >> i & 1)                                                                                           \
                ((number *)to)[i] = a[i];                                                                             \
    }                                                                                                                 \
    INLINE vector _mm512_permutex2var_##end(vector a, __m512i which, vector b) {                                      \
        const int width = (int)(sizeof a / sizeof a[0]);                                                              \
        const words places = (words)which & (2 * width - 1);                                                          \
        SHIM_LANES(vector, (int)places[i] < width ? a[(int)places[i]] : b[(int)places[i] - width])                    \
    }                                                                                                                 \
    INLINE vector _mm512_set1_##end(number c) { SHIM_LANES(vector, c) }                                               \
    INLINE vector _mm512_add_##end(vector a, vector b) { return a + b; }                                              \
    INLINE vector _mm512_sub_##end(vector a, vector b) { return a - b; }                                              \
    INLINE vector _mm512_mul_##end(vector a, vector b) { return a * b; }                                              \
    INLINE vector _mm512_div_##end(vector a, vector b) { return a / b; }                                              \
    INLINE vector _mm512_fmadd_##end(vector a, vector b, vector c) { SHIM_LANES(vector, fused(a[i], b[i], c[i])) }    \
    INLINE vector _mm512_fnmadd_##end(vector a, vector b, vector c) { SHIM_LANES(vector, fused(-a[i], b[i], c[i])) }  \
    INLINE vector _mm512_min_##end(vector a, vector b) { SHIM_LANES(vector, a[i] < b[i] ? a[i] : b[i]) }              \
    INLINE vector _mm512_max_##end(vector a, vector b) { SHIM_LANES(vector, a[i] > b[i] ? a[i] : b[i]) }              \
    INLINE vector _mm512_and_##end(vector a, vector b) { return (vector)((words)a & (words)b); }                      \
    INLINE vector _mm512_andnot_##end(vector a, vector b) { return (vector)(~(words)a & (words)b); }                  \
    INLINE vector _mm512_or_##end(vector a, vector b) { return (vector)((words)a | (words)b); }                       \
    INLINE vector _mm512_mask_blend_##end(mask m, vector a, vector b) { SHIM_LANES(vector, m >> i & 1 ? b[i] : a[i]) } \
    INLINE mask _mm512_cmp_##end##_mask(vector a, vector b, int how) {                                                \
        unsigned result = 0;                                                                                          \
        for (int i = 0; i < (int)(sizeof a / sizeof a[0]); i++)                                                       \
            result |= (unsigned)(how == _CMP_LT_OQ ? a[i] < b[i] : a[i] <= b[i]) << i;                                \
        return (mask)result;                                                                                          \
    }

SHIM_NUMBERS(ps, __m512, float, __mmask16, shim_words, fmaf)
SHIM_NUMBERS(pd, __m512d, double, __mmask8, shim_longs, fma)

INLINE __m512i _mm512_castps_si512(__m512 a) { return (__m512i)a; }
INLINE __m512i _mm512_castpd_si512(__m512d a) { return (__m512i)a; }
INLINE __m512 _mm512_castsi512_ps(__m512i a) { return (__m512)a; }
INLINE __m512d _mm512_castsi512_pd(__m512i a) { return (__m512d)a; }

#define _mm512_loadu_si512(from) (*(const shim_loose *)(from))
#define _mm256_loadu_si256(from) (from)
INLINE __m512 _mm512_i32gather_ps(shim_ints which, const void *from, int scale) {
    SHIM_LANES(__m512, *(const float *)((const char *)from + (int64_t)which[i] * scale))
}
INLINE __m512d _mm512_i32gather_pd(const __m256i *which, const void *from, int scale) {
    SHIM_LANES(__m512d, *(const double *)((const char *)from + (int64_t)((const int32_t *)which)[i] * scale))
}
#define _mm512_setr_ps(...) ((__m512){__VA_ARGS__})
#define _mm512_setr_pd(...) ((__m512d){__VA_ARGS__})
#define _mm512_setr_epi32(...) ((__m512i)(shim_words){__VA_ARGS__})
#define _mm512_setr_epi64(...) ((__m512i){__VA_ARGS__})

INLINE __m512i _mm512_set1_epi32(int32_t c) { return (__m512i)((shim_words){0} + (uint32_t)c); }
INLINE __m512i _mm512_set1_epi64(int64_t c) { return (__m512i)((shim_longs){0} + (uint64_t)c); }
INLINE __m512i _mm512_add_epi32(__m512i a, __m512i b) { return (__m512i)((shim_words)a + (shim_words)b); }
INLINE __m512i _mm512_add_epi64(__m512i a, __m512i b) { return (__m512i)((shim_longs)a + (shim_longs)b); }
INLINE __m512i _mm512_slli_epi32(__m512i a, unsigned count) { return (__m512i)((shim_words)a << count); }
INLINE __m512i _mm512_slli_epi64(__m512i a, unsigned count) { return (__m512i)((shim_longs)a << count); }
