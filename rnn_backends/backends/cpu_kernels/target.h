/* What compilers spell differently. */
#ifndef RNN_TARGET_H
#define RNN_TARGET_H

#define TEXT_(words) #words
#define PRAGMA(words) _Pragma(TEXT_(words))

#if defined(__clang__)
#define BEGIN_TARGET(names) PRAGMA(clang attribute push(__attribute__((target(names))), apply_to = function))
#define END_TARGET PRAGMA(clang attribute pop)
#define UNROLLED PRAGMA(clang loop unroll(full))
#elif defined(__GNUC__)
#define BEGIN_TARGET(names) PRAGMA(GCC push_options) PRAGMA(GCC target(names))
#define END_TARGET PRAGMA(GCC pop_options)
#define UNROLLED PRAGMA(GCC unroll 32)
#else
#define BEGIN_TARGET(names)
#define END_TARGET
#define UNROLLED
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline, unused))
#else
#define INLINE static __forceinline
#endif

#if defined(__GNUC__)
#define PROCESSOR_HAS_AVX2 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#define PROCESSOR_HAS_AVX512 \
    (PROCESSOR_HAS_AVX2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
#elif defined(_M_X64) /* Microsoft's compiler, unproven */
#include <intrin.h>
#include <windows.h>
static inline int processor_bit(int leaf, int number, int bit) {
    int numbers[4]; /* EAX, EBX, ECX, EDX */
    __cpuidex(numbers, leaf, 0);
    return numbers[number] >> bit & 1;
}
#define PROCESSOR_HAS_AVX2 (IsProcessorFeaturePresent(PF_AVX2_INSTRUCTIONS_AVAILABLE) && processor_bit(1, 2, 12))
#define PROCESSOR_HAS_AVX512 \
    (PROCESSOR_HAS_AVX2 && IsProcessorFeaturePresent(PF_AVX512F_INSTRUCTIONS_AVAILABLE) && processor_bit(7, 1, 17))
#endif

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
/* The name of a function for the type of number that is compiled. */
#define NAME(name) JOIN(name, T)

#endif
