/* The walk for any processor: vectors of 16 bytes as GCC and Clang have them, of whatever the processor has for them. */
#include "kernel.h"
#include "target.h"

#if defined(__GNUC__)
#include <float.h>
#include <math.h>
#include <string.h>

typedef float floats __attribute__((vector_size(16)));
typedef double doubles __attribute__((vector_size(16)));
typedef int32_t ints __attribute__((vector_size(16)));
typedef int64_t longs __attribute__((vector_size(16)));
typedef float loose_floats __attribute__((vector_size(16), aligned(4), may_alias));
typedef double loose_doubles __attribute__((vector_size(16), aligned(8), may_alias));

static int runs(void) {
    return 1;
}

#define KERNEL kernel_plain
#define FUSED 0
#define REGISTERS 16
#define LOAD(p) ((V)(*(const LOOSE *)(p)))
#define LOAD_ALIGNED(p) (*(const V *)(p))
#define STORE(p, v) (*(LOOSE *)(p) = (LOOSE)(v))
#define SET1(c) EACH((T)(c))
#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define DIV(a, b) ((a) / (b))
#define FMA(a, b, c) ((a) * (b) + (c))
#define FNMA(a, b, c) ((c) - (a) * (b))
#define LT(a, b) ((a) < (b))
#define LE(a, b) ((a) <= (b))
#define SELECT(m, a, b) ((V)(((m) & (I)(a)) | (~(m) & (I)(b))))
#define MINX(limit, x) SELECT(LT(limit, x), limit, x)
#define MAXX(limit, x) SELECT(LT(x, limit), limit, x)
#define ABS(x) ((V)((I)(x) & ~(I)SET1(-0.0)))
#define COPYSIGN(a, x) ((V)((I)(a) | ((I)(x) & (I)SET1(-0.0))))

#define T float
#define V floats
#define I ints
#define LOOSE loose_floats
#define W 4
#define EACH(c) ((V){c, c, c, c})
#define PICK(p, c) ((V){(p)[(c)[0]], (p)[(c)[1]], (p)[(c)[2]], (p)[(c)[3]]})
#define ZIP_FIRST(a, b) ((V){(a)[0], (b)[0], (a)[1], (b)[1]})
#define ZIP_LAST(a, b) ((V){(a)[2], (b)[2], (a)[3], (b)[3]})
#define LARGEST FLT_MAX
#define EXP2I(shifted) ((V)((I)(shifted) << 23))
#include "walk.h"

#include "undefine.h"
#undef I
#undef LOOSE
#undef EACH
#undef ZIP_FIRST
#undef ZIP_LAST
#define T double
#define V doubles
#define I longs
#define LOOSE loose_doubles
#define W 2
#define EACH(c) ((V){c, c})
#define PICK(p, c) ((V){(p)[(c)[0]], (p)[(c)[1]]})
#define ZIP_FIRST(a, b) ((V){(a)[0], (b)[0]})
#define ZIP_LAST(a, b) ((V){(a)[1], (b)[1]})
#define LARGEST DBL_MAX
#define EXP2I(shifted) ((V)((I)(shifted) << 52))
#include "walk.h"

#include "table.h"
#endif
