/* tanh, sigmoid, exp, expm1 and log1p for the type T, without branches.

All but the last take a power of e apart: t = k log(2) + r, k an integer, |r| <= log(2) / 2; s = 2^k, m = exp(r) - 1.
Adding `shift` = 1.5 * 2^(bits of the mantissa) + the exponent's bias to t / log(2) leaves k + the bias in the lowest
bits; EXP2I shifts them to the exponent's place, which makes s. m s is exact, so that m s + c is rounded once, fused or
not. FUSED: whether FMA and FNMA round once.

m = r + r^2 (c0 + c1 r + ...), the polynomial of the least largest relative error in m: 1.4e-8 and 2.6e-19. Double's
coefficients are from Remez' algorithm (in 60 digits); float's from a linear program with c0 and c1 given, each rounded
before those after it were found; of 26 pairs of c0 and c1, that with the least errors of tanh.

Largest errors measured, rounded up, in units in the last place of the truth or the least subnormal number: float at
all arguments (log1p at every other), double at 10^6 (log1p), 10^7 (exp), 5 10^7 (sigmoid, expm1), 10^8 (tanh).

              float, fused  float, not fused  double, fused  double, not fused
    tanh         1.908           1.947            1.964           1.968
    sigmoid      2.000           2.000            1.999           1.999
    exp          1.043           1.021            0.832           0.830
    expm1        0.983           1.053            0.862           0.855
    log1p        1.969           1.969            1.954           1.954

tanh is odd, with the sign of 0, and never above 1. A NaN stays one in each. */

#ifndef EXPONENTIALS_CONSTANTS
#define EXPONENTIALS_CONSTANTS

#define terms_float 5
#define c0_float 0x1.fffffep-2f
#define c1_float 0x1.5554aap-3f
#define c2_float 0x1.55579ap-5f
#define c3_float 0x1.122c66p-7f
#define c4_float 0x1.6abb44p-10f
#define per_log_2_float 0x1.715476p+0f
#define log_2_float 0x1.62e430p-1f
#define log_2_high_float 0x1.62e400p-1f /* 15 bits, for k times it to be exact */
#define log_2_low_float 0x1.7f7d1cp-20f
#define shift_float (0x1.8p+23f + 127)
#define tanh_is_1_float 9.1f
#define sigmoid_is_0_float (-105.0f)
#define sigmoid_is_1_float 20.0f
#define down_float 30
#define unit_float 0x1p-30f
#define series_float 8

#define terms_double 11
#define c0_double 0.5
#define c1_double 0.16666666666666676547
#define c2_double 0.041666666666666508131
#define c3_double 0.0083333333333216541814
#define c4_double 0.0013888888888962617963
#define c5_double 0.00019841269886073502467
#define c6_double 0.000024801587172205840284
#define c7_double 2.7557244254062394048e-6
#define c8_double 2.7557402793665679069e-7
#define c9_double 2.5109024529502590151e-8
#define c10_double 2.0875324233829474164e-9
#define per_log_2_double 0x1.71547652b82fep+0
#define log_2_high_double 0x1.62e42fee00000p-1 /* 32 bits */
#define log_2_low_double 0x1.a39ef35793c76p-33
#define shift_double (0x1.8p+52 + 1023)
#define tanh_is_1_double 19.1
#define sigmoid_is_0_double (-746.0)
#define sigmoid_is_1_double 40.0
#define down_double 60
#define unit_double 0x1p-60
#define series_double 17

#endif

#if NAME(terms) == 5
/* Return m for t and k. `beside_1`: the larger k is, the less counts its product with the error of log(2). */
INLINE V NAME(f_reduced)(V t, V k, int beside_1) {
    V r = beside_1 && FUSED ? FNMA(k, SET1(NAME(log_2)), t)
                            : FNMA(k, SET1(NAME(log_2_low)), FNMA(k, SET1(NAME(log_2_high)), t));
    V r2 = MUL(r, r);
    V q = FMA(SET1(NAME(c1)), r, SET1(NAME(c0)));
    q = FMA(FMA(SET1(NAME(c4)), r2, FMA(SET1(NAME(c3)), r, SET1(NAME(c2)))), r2, q);
    return FMA(q, r2, r);
}
#else
/* Return m for t and k. What reaches the sum with `high`, which is exact, has been rounded where it is small only: the
many terms add up to (m - r - r^2 / 2) / r^3, and r is rounded for them alone. */
INLINE V NAME(f_reduced)(V t, V k, int beside_1) {
    (void)beside_1;
    V high = FNMA(k, SET1(NAME(log_2_high)), t), low = MUL(k, SET1(NAME(log_2_low)));
    V r = SUB(high, low), r2 = MUL(r, r), r4 = MUL(r2, r2);
    V first = FMA(FMA(SET1(NAME(c4)), r, SET1(NAME(c3))), r2, FMA(SET1(NAME(c2)), r, SET1(NAME(c1))));
    V next = FMA(FMA(SET1(NAME(c8)), r, SET1(NAME(c7))), r2, FMA(SET1(NAME(c6)), r, SET1(NAME(c5))));
    V q = FMA(FMA(FMA(SET1(NAME(c10)), r, SET1(NAME(c9))), r4, next), r4, first);
    return SUB(high, FNMA(q, MUL(r2, r), FNMA(r2, SET1(NAME(c0)), low)));
}
#endif

/* (1 - e) / (1 + e) with e = exp(-2 |x|) = s + m s, both halved. As the halves add up to 1, the roundings of the two
keep in step, which those of exp(2 |x|) - 1 and + 1 do not; and below 1 a unit in the last place is half as large. */
INLINE V NAME(f_tanh)(V x) {
    V a = MINX(SET1(NAME(tanh_is_1)), ABS(x));
    V shift = SET1(NAME(shift) - 1), half = SET1((T)0.5);
    V shifted = FNMA(a, SET1(2 * NAME(per_log_2)), shift);
    V m = NAME(f_reduced)(MUL(a, SET1(-2)), SUB(shifted, shift), 1);
    V s = EXP2I(shifted);
    return COPYSIGN(DIV(FNMA(m, s, SUB(half, s)), FMA(m, s, ADD(half, s))), x);
}

/* 1 / (1 + e) with e = exp(-x) = s + m s; all times `unit`, 2^-down, for e overflows where the result is not 0 yet. */
INLINE V NAME(f_sigmoid)(V x) {
    x = MINX(SET1(NAME(sigmoid_is_1)), MAXX(SET1(NAME(sigmoid_is_0)), x));
    V shift = SET1(NAME(shift) - NAME(down)), unit = SET1(NAME(unit));
    V shifted = FNMA(x, SET1(NAME(per_log_2)), shift);
    V m = NAME(f_reduced)(MUL(x, SET1(-1)), SUB(shifted, shift), 0);
    V s = EXP2I(shifted);
    return DIV(unit, ADD(FMA(m, s, unit), s));
}

/* For x <= 0; +0 for -0. */
INLINE V NAME(f_expm1)(V x) {
    x = MAXX(SET1(-2 * NAME(tanh_is_1)), x);
    V shift = SET1(NAME(shift));
    V shifted = FMA(x, SET1(NAME(per_log_2)), shift);
    V m = NAME(f_reduced)(x, SUB(shifted, shift), 1);
    V s = EXP2I(shifted);
    return FMA(m, s, SUB(s, SET1(1)));
}

/* For x <= 0; 2^down times as large at first, so that a subnormal result is rounded in one place alone. */
INLINE V NAME(f_exp)(V x) {
    x = MAXX(SET1(NAME(sigmoid_is_0)), x);
    V shift = SET1(NAME(shift) + NAME(down));
    V shifted = FMA(x, SET1(NAME(per_log_2)), shift);
    V m = NAME(f_reduced)(x, SUB(shifted, shift), 0), s = EXP2I(shifted);
    return MUL(FMA(m, s, s), SET1(NAME(unit)));
}

/* For 0 <= x <= 1: twice the series of the inverse tanh at x / (x + 2). */
INLINE V NAME(f_log1p)(V x) {
    V s = DIV(x, ADD(x, SET1(2))), u = MUL(s, s), p = SET1(0);
    UNROLLED for (int k = NAME(series); k > 0; k--)
        p = FMA(p, u, SET1((T)(1.0 / (2 * k + 1))));
    return MUL(SET1(2), FMA(MUL(p, u), s, s));
}
