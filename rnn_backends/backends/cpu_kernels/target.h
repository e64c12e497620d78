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
#else /* Microsoft's compiler, unproven */
#include <windows.h>
#define PROCESSOR_HAS_AVX2 IsProcessorFeaturePresent(PF_AVX2_INSTRUCTIONS_AVAILABLE)
#define PROCESSOR_HAS_AVX512 IsProcessorFeaturePresent(PF_AVX512F_INSTRUCTIONS_AVAILABLE)
#endif

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
/* The name of a function for the type of number that is compiled. */
#define NAME(name) JOIN(name, T)

#endif
