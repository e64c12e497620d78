/* Products of rows with a sparse weight matrix, for the type T and the vectors V of W numbers; sparse.c arranges it.
 *
 * Few rows are multiplied one after the other, the lanes of a vector being W sums, whose numbers are picked from the row:
 * by loads of one number each, or by an instruction that gathers, which some processors do faster, and some far more
 * slowly.  Where sums are filled up, they are picked from a copy with a 0 after it.  More rows are multiplied abreast, the lanes being rows, whose numbers are laid side by side first,
 * column by column: one load takes those of W rows.  Either way a chain has TERMS entries at most, and a window of z is
 * ended by `finish` as soon as it is there.
 */

#define MOST_VECTORS 4 /* of rows abreast, which share the loads of entries */
#define TRIALS 16      /* of each way to pick numbers, of which the fastest counts */
#define ABREAST_SUMS 8 /* added up at once, so that few wait for the one before */

#ifndef GATHER /* of instruction sets without such an instruction */
#define GATHER(p, c) PICK(p, c)
#define HAS_GATHER 0
#else
#define HAS_GATHER 1
#endif

/* Write all sums of a window, and return where they end. */
INLINE T *NAME(slices_alone)(const int GATHERS, const sparse *m, const window *at, const T *x, T *to) {
    const T *values = (const T *)m->values + at->entry;
    const int32_t *columns = m->columns + at->entry;
    for (idx slice = at[0].slice; slice < at[1].slice; slice++, to += W) {
        V total = SET1(0);
        for (idx left = m->counts[slice]; left > 0; left -= TERMS) {
            V sum = SET1(0);
            for (idx n = left < TERMS ? left : TERMS; n > 0; n--, values += W, columns += W)
                sum = FMA(LOAD_ALIGNED(values), GATHERS ? GATHER(x, columns) : PICK(x, columns), sum);
            total = ADD(total, sum);
        }
        STORE(to, total);
    }
    return to;
}

/* z += the product of x with a window of rows of the matrix. */
static void NAME(window_alone)(const sparse *m, const window *at, idx row, idx rows, const T *x, T *z) {
    const int32_t *places = m->places + row;
    T sums[MOST_SUMS], *to = m->gathers ? NAME(slices_alone)(1, m, at, x, sums) : NAME(slices_alone)(0, m, at, x, sums);
    *to = 0;
    for (idx join = at[0].join; join < at[1].join; join++)
        sums[m->joins[2 * join]] += sums[m->joins[2 * join + 1]];
    for (idx i = 0; i < rows; i += W) {
        const V begin = NAME(load_part)(z + row + i, rows - i);
        NAME(store_part)(z + row + i, ADD(begin, PICK(sums, places + i)), rows - i);
    }
}

/* Return whether gathering is the faster way for a matrix on this processor: both are timed, and give the same bits.
 *
 * Scratch has zeros, for the numbers of a row, a zero after them, and the sums of a window. */
static int NAME(gathers)(const sparse *m, idx size, void *scratch) {
    const T *x = scratch;
    T *sums = (T *)scratch + size + 1;
    long long least[2] = {LLONG_MAX, LLONG_MAX};
    for (int turn = 0; turn < 2 * TRIALS && HAS_GATHER; turn++) {
        const long long begin = pool_now();
        if (turn & 1)
            NAME(slices_alone)(1, m, m->windows, x, sums);
        else
            NAME(slices_alone)(0, m, m->windows, x, sums);
        const long long taken = pool_now() - begin;
        least[turn & 1] = taken < least[turn & 1] ? taken : least[turn & 1];
    }
    return least[1] < least[0];
}

/* Turn the rows of a square of numbers into its columns: each round moves the last half of the rows between the first. */
INLINE void NAME(transpose)(V *square) {
    UNROLLED for (int round = 1; round < W; round *= 2) {
        V turned[W];
        UNROLLED for (int i = 0; i < W / 2; i++) {
            turned[2 * i] = ZIP_FIRST(square[i], square[i + W / 2]);
            turned[2 * i + 1] = ZIP_LAST(square[i], square[i + W / 2]);
        }
        UNROLLED for (int i = 0; i < W; i++)
            square[i] = turned[i];
    }
}

/* Lay the numbers of N vectors of rows side by side: (columns, N W); beyond the last row are those of the last one.
 *
 * Zeros follow the last column, one at least. */
static void NAME(lay_abreast)(idx vectors, const T *const *x, idx rows, idx columns, T *to) {
    for (idx column = 0; column <= columns; column += W)
        for (idx v = 0; v < vectors; v++) {
            V square[W];
            UNROLLED for (int i = 0; i < W; i++) {
                const idx row = v * W + i < rows ? v * W + i : rows - 1;
                square[i] = NAME(load_part)(x[row] + column, columns - column);
            }
            NAME(transpose)(square);
            UNROLLED for (int i = 0; i < W; i++)
                STORE(to + ((column + i) * vectors + v) * W, square[i]);
        }
}

/* Write some of the sums of a slice for N vectors of rows. */
INLINE void NAME(sums_abreast)(const int N, const int LANES, const T *values, const int32_t *columns, idx count,
                               const T *x, T *sums) {
    for (idx from = 0; from < count; from += TERMS) {
        const idx to = count - from < TERMS ? count : from + TERMS;
        V sum[ABREAST_SUMS][MOST_VECTORS];
        UNROLLED for (int lane = 0; lane < LANES; lane++)
            UNROLLED for (int v = 0; v < N; v++)
                sum[lane][v] = SET1(0);
        for (idx n = from; n < to; n++)
            UNROLLED for (int lane = 0; lane < LANES; lane++) {
                const V value = SET1(values[n * W + lane]);
                const T *numbers = x + (idx)columns[n * W + lane] * (N * W);
                UNROLLED for (int v = 0; v < N; v++)
                    sum[lane][v] = FMA(value, LOAD_ALIGNED(numbers + v * W), sum[lane][v]);
            }
        UNROLLED for (int lane = 0; lane < LANES; lane++)
            UNROLLED for (int v = 0; v < N; v++) {
                T *total = sums + (lane * N + v) * W;
                STORE(total, from ? ADD(LOAD_ALIGNED(total), sum[lane][v]) : sum[lane][v]);
            }
    }
}

/* Write all sums of a window for N vectors of rows: (sums, N W), and zeros after them. */
INLINE void NAME(slices_abreast)(const int N, const sparse *m, const window *at, const T *x, T *sums) {
    const int LANES = W < ABREAST_SUMS / N ? W : ABREAST_SUMS / N;
    const T *values = (const T *)m->values + at->entry;
    const int32_t *columns = m->columns + at->entry;
    for (idx slice = at[0].slice; slice < at[1].slice; slice++) {
        for (int lane = 0; lane < W; lane += LANES, sums += LANES * N * W)
            NAME(sums_abreast)(N, LANES, values + lane, columns + lane, m->counts[slice], x, sums);
        values += m->counts[slice] * W;
        columns += m->counts[slice] * W;
    }
    memset(sums, 0, N * W * sizeof(T));
}

#define SLICES(N)                                    \
    case N:                                          \
        NAME(slices_abreast)(N, m, at, x, sums);     \
        break;

/* z += the products of rows, which lie abreast, with a window of rows of the matrix. */
static void NAME(window_abreast)(idx vectors, const sparse *m, const window *at, idx row, idx rows, const T *x, T *sums,
                                 T *const *z, idx count) {
    const idx width = vectors * W;
    switch (vectors) {
        SLICES(1) SLICES(2) SLICES(3) SLICES(4)
    }
    for (idx join = at[0].join; join < at[1].join; join++) {
        T *to = sums + m->joins[2 * join] * width, *part = sums + m->joins[2 * join + 1] * width;
        for (idx v = 0; v < width; v += W)
            STORE(to + v, ADD(LOAD_ALIGNED(to + v), LOAD_ALIGNED(part + v)));
    }
    for (idx i = 0; i < rows; i += W)
        for (idx v = 0; v < vectors; v++) {
            V square[W];
            UNROLLED for (int n = 0; n < W; n++)
                square[n] = LOAD_ALIGNED(sums + m->places[row + i + n] * width + v * W);
            NAME(transpose)(square);
            UNROLLED for (int n = 0; n < W; n++)
                if (v * W + n < count) {
                    T *to = z[v * W + n] + row + i;
                    NAME(store_part)(to, ADD(NAME(load_part)(to, rows - i), square[n]), rows - i);
                }
        }
}

#undef SLICES
#undef GATHER
#undef HAS_GATHER

/* The columns of rows that lie abreast, zeros among them. */
static idx NAME(laid_columns)(idx size) {
    return size / W * W + W;
}

/* The vectors of so many rows that are multiplied abreast, 0 where none are. */
static idx NAME(vectors)(idx rows) {
    const idx vectors = (rows + W - 1) / W;
    return rows < ABREAST ? 0 : vectors < MOST_VECTORS ? vectors : MOST_VECTORS;
}

/* z[n] += x[n] . weights, in the columns of the windows first .. end; `finish` ends each. */
static void NAME(sparse_product)(const T *const *x, T *const *z, idx rows, const sparse *m, idx size, idx first, idx end,
                                 int backward, const NAME(ending) *finish, T *scratch) {
    T *aligned = (T *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
    for (idx row = 0, next; row < rows; row = next) {
        const idx left = rows - row, vectors = NAME(vectors)(left);
        const idx count = vectors == 0 ? 1 : left < vectors * W ? left : vectors * W;
        T *sums = aligned + NAME(laid_columns)(size) * vectors * W;
        const T *alone = x[row];
        next = row + count;
        if (vectors)
            NAME(lay_abreast)(vectors, x + row, count, size, aligned);
        else if (m->is_filled) {
            alone = memcpy(aligned, x[row], (size_t)size * sizeof(T));
            aligned[size] = 0;
        }
        for (idx n = 0; n < end - first; n++) {
            const idx at = backward ? end - 1 - n : first + n, column = at * WINDOW;
            const idx width = size - column < WINDOW ? size - column : WINDOW;
            if (vectors)
                NAME(window_abreast)(vectors, m, m->windows + at, column, width, aligned, sums, z + row, count);
            else
                NAME(window_alone)(m, m->windows + at, column, width, alone, z[row]);
            finish->apply(finish, z + row, x + row, count, column, width);
        }
    }
}

/* The bytes of scratch for a product of so many rows, or of fewer. */
static size_t NAME(sparse_scratch)(idx rows, idx size) {
    const idx abreast = NAME(vectors)(rows) * W * (NAME(laid_columns)(size) + MOST_SUMS);
    return (size_t)(abreast ? abreast : size + 1) * sizeof(T) + 64;
}
