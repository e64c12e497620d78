/* tanh, sigmoid, exp, expm1 and log1p for the type T. */
#define IS_FLOAT (sizeof(T) == 4)
INLINE V NAME(f_reduced)(V x, V *scale) {
    const V shifted = FMA(x, SET1((T)1.4426950408889634), SET1((T)(IS_FLOAT ? 12582912.0 : 6755399441055744.0)));
    const V k = SUB(shifted, SET1((T)(IS_FLOAT ? 12582912.0 : 6755399441055744.0)));
    V r = FNMA(k, SET1((T)(IS_FLOAT ? 0.693145751953125 : 0.6931471803691238)), x);
    r = FNMA(k, SET1((T)(IS_FLOAT ? 1.4286068203094172e-6 : 1.9082149292705877e-10)), r);
    *scale = EXP2I(shifted);
    const V r2 = MUL(r, r);
    static const double f32[] = {1.9891080e-4, 1.3933731e-3, 8.3333105e-3, 4.1666463e-2, 0.16666667, 0.5};
    static const double f64[] = {2.09147553258932e-09, 2.5105312729622103e-08, 2.755727347871858e-07, 2.755725517000089e-06,
     2.480158732567746e-05, 0.0001984126987500228, 0.0013888888888883711, 0.008333333333326084,
     0.04166666666666667, 0.1666666666666667, 0.5};
    const int n = IS_FLOAT ? 6 : 11;
    const double *c = IS_FLOAT ? f32 : f64;
    V a = SET1((T)c[0]), b = SET1((T)c[1]);
    UNROLLED for (int i = 2; i < n; i++) {
        const V t = FMA(a, r2, SET1((T)c[i]));
        a = b;
        b = t;
    }
    const V p = FMA(a, r, b);
    return FMA(p, r2, r);
}
INLINE V NAME(f_tanh)(V x) {
    V a = MINX(SET1((T)(IS_FLOAT ? 9.1 : 19.1)), ABS(x)), s;
    const V m = NAME(f_reduced)(ADD(a, a), &s);
    const V e = FMA(m, s, SUB(s, SET1(1)));
    return COPYSIGN(DIV(e, ADD(e, SET1(2))), x);
}
INLINE V NAME(f_exp)(V x) {
    V s;
    x = MAXX(SET1((T)(IS_FLOAT ? -87 : -708)), x);
    const V m = NAME(f_reduced)(x, &s);
    return FMA(m, s, s);
}
INLINE V NAME(f_expm1)(V x) {
    V s;
    x = MAXX(SET1((T)(IS_FLOAT ? -20 : -40)), x);
    const V m = NAME(f_reduced)(x, &s);
    return FMA(m, s, SUB(s, SET1(1)));
}
INLINE V NAME(f_sigmoid)(V x) {
    const V e = NAME(f_exp)(SUB(SET1(0), ABS(x)));
    return DIV(SELECT(LT(x, SET1(0)), e, SET1(1)), ADD(SET1(1), e));
}
INLINE V NAME(f_log1p)(V x) {
    const V s = DIV(x, ADD(x, SET1(2))), u = MUL(s, s);
    V p = SET1(0);
    UNROLLED for (int k = IS_FLOAT ? 8 : 17; k > 0; k--)
        p = FMA(p, u, SET1((T)(1.0 / (2 * k + 1))));
    p = MUL(p, u);
    return MUL(SET1(2), FMA(p, s, s));
}
