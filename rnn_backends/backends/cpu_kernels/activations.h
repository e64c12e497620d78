/* What becomes of z = W_aa a<t-1> + W_ax x<t> + b_a: the clip, the activation, the leak; for the type T.
 *
 * The functions are those of rnn_backends/core/activations.py, without branches; a NaN stays NaN in each.
 */

typedef struct NAME(ending) {
    /* Ends some rows of z in columns column .. column + width; h holds the rows of a<t-1>. */
    void (*apply)(const struct NAME(ending) *, T *const *z, const T *const *h, idx rows, idx column, idx width);
    T alpha, beta, clip, leak;
    const T *leaks;
    int is_plain; /* neither clip nor leak */
} NAME(ending);

INLINE V NAME(clipped)(const NAME(ending) *e, V z) {
    return MAXX(SET1(-e->clip), MINX(SET1(e->clip), z));
}

INLINE V NAME(leaked)(V a, V h, V leak) {
    return FMA(leak, a, MUL(SUB(SET1(1), leak), h));
}

#define ACTIVATION(name, expression)                                                                              \
    INLINE V NAME(name##_of)(const NAME(ending) *e, V z) {                                                        \
        const V alpha = SET1(e->alpha), beta = SET1(e->beta);                                                     \
        (void)alpha, (void)beta;                                                                                  \
        return expression;                                                                                        \
    }                                                                                                             \
    static void NAME(name)(const NAME(ending) *e, T *const *rows, const T *const *before, idx count, idx column,  \
                           idx width) {                                                                           \
        for (idx row = 0; row < count; row++) {                                                                   \
            T *z = rows[row] + column;                                                                            \
            idx i = 0;                                                                                            \
            if (e->is_plain) {                                                                                    \
                for (; i + 4 * W <= width; i += 4 * W)                                                            \
                    UNROLLED for (int v = 0; v < 4; v++)                                                          \
                        STORE(z + i + v * W, NAME(name##_of)(e, LOAD(z + i + v * W)));                            \
                for (; i < width; i += W)                                                                         \
                    NAME(store_part)(z + i, NAME(name##_of)(e, NAME(load_part)(z + i, width - i)), width - i);    \
                continue;                                                                                         \
            }                                                                                                     \
            for (; i < width; i += W) {                                                                           \
                V a = NAME(name##_of)(e, NAME(clipped)(e, NAME(load_part)(z + i, width - i)));                    \
                if (e->leaks)                                                                                     \
                    a = NAME(leaked)(a, NAME(load_part)(before[row] + column + i, width - i),                     \
                                     NAME(load_part)(e->leaks + column + i, width - i));                          \
                else if (e->leak < 1)                                                                             \
                    a = NAME(leaked)(a, NAME(load_part)(before[row] + column + i, width - i), SET1(e->leak));     \
                NAME(store_part)(z + i, a, width - i);                                                            \
            }                                                                                                     \
        }                                                                                                         \
    }

ACTIVATION(identity, z)
ACTIVATION(tanh, NAME(f_tanh)(z))
ACTIVATION(sigmoid, NAME(f_sigmoid)(z))
ACTIVATION(relu, MAXX(SET1(0), z))
ACTIVATION(affine, FMA(alpha, z, beta))
ACTIVATION(leaky_relu, SELECT(LT(z, SET1(0)), MUL(alpha, z), z))
ACTIVATION(thresholded_relu, SELECT(LE(z, alpha), SET1(0), z))
ACTIVATION(clipped_relu, MINX(alpha, MAXX(SET1(0), z)))
ACTIVATION(scaled_tanh, MUL(alpha, NAME(f_tanh)(MUL(beta, z))))
ACTIVATION(hard_sigmoid, MINX(SET1(1), MAXX(SET1(0), FMA(alpha, z, beta))))
ACTIVATION(elu, SELECT(LT(z, SET1(0)), MUL(alpha, NAME(f_expm1)(z)), z))
ACTIVATION(softsign, DIV(MAXX(SET1(-LARGEST), MINX(SET1(LARGEST), z)), ADD(SET1(1), MINX(SET1(LARGEST), ABS(z)))))
ACTIVATION(softplus, ADD(MAXX(SET1(0), z), NAME(f_log1p)(NAME(f_exp)(SUB(SET1(0), ABS(z))))))

#define ENTRY(name) NAME(name),
static void (*const NAME(activations)[])(const NAME(ending) *, T *const *, const T *const *, idx, idx, idx) = {
    ACTIVATION_NAMES(ENTRY)
};
#undef ENTRY
