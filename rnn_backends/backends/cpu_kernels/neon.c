/* The walk for 64-bit ARM processors, all of which have NEON. */
#include "kernel.h"
#include "target.h"

#if defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>
#include <float.h>
#include <math.h>
#include <string.h>

static int runs(void) {
    return 1;
}

#define KERNEL kernel_neon
#define FUSED 1
#define REGISTERS 32
#define LOAD(p) OP(ld1q)(p)
#define LOAD_ALIGNED(p) OP(ld1q)(p)
#define STORE(p, v) OP(st1q)(p, v)
#define SET1(c) OP(dupq_n)(c)
#define ADD(a, b) OP(addq)(a, b)
#define SUB(a, b) OP(subq)(a, b)
#define MUL(a, b) OP(mulq)(a, b)
#define DIV(a, b) OP(divq)(a, b)
#define FMA(a, b, c) OP(fmaq)(c, a, b)
#define FNMA(a, b, c) OP(fmsq)(c, a, b)
#define LT(a, b) OP(cltq)(a, b)
#define LE(a, b) OP(cleq)(a, b)
#define SELECT(m, a, b) OP(bslq)(m, a, b)
#define MINX(limit, x) SELECT(LT(limit, x), limit, x)
#define MAXX(limit, x) SELECT(LT(x, limit), limit, x)
#define ABS(x) OP(absq)(x)
#define ZIP_FIRST(a, b) OP(zip1q)(a, b)
#define ZIP_LAST(a, b) OP(zip2q)(a, b)

#define T float
#define V float32x4_t
#define W 4
#define OP(name) v##name##_f32
#define LARGEST FLT_MAX
#define COPYSIGN(a, x) vbslq_f32(vdupq_n_u32(0x80000000u), x, a)
#define EXP2I(shifted) vreinterpretq_f32_s32(vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23))
#define PICK_LANE(p, c, n, v) vld1q_lane_f32((p) + (c)[n], v, n)
#define PICK(p, c) PICK_LANE(p, c, 3, PICK_LANE(p, c, 2, PICK_LANE(p, c, 1, vdupq_n_f32((p)[(c)[0]]))))
#include "walk.h"

#include "undefine.h"
#undef COPYSIGN
#define T double
#define V float64x2_t
#define W 2
#define OP(name) v##name##_f64
#define LARGEST DBL_MAX
#define COPYSIGN(a, x) vbslq_f64(vdupq_n_u64(0x8000000000000000u), x, a)
#define EXP2I(shifted) vreinterpretq_f64_s64(vshlq_n_s64(vreinterpretq_s64_f64(shifted), 52))
#define PICK(p, c) vld1q_lane_f64((p) + (c)[1], vdupq_n_f64((p)[(c)[0]]), 1)
#include "walk.h"

#include "table.h"
#endif
