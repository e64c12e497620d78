/* Products of rows with a weight matrix, in panels of columns, for the type T and the vectors V of W numbers.
 *
 * Panels: the weights (size, columns) are kept as ceil(size / 2W) panels, each (columns, 2W), the last one (columns, W)
 * where no more are needed: what a row of x is multiplied with lies in order, and two vectors of a panel serve
 * several rows.  Tiles: as many rows (1 to 6, split evenly), panels (1 or 2) and chains of sums as there are registers
 * for, so that few sums wait for the one before, whatever the number of rows.
 *
 * Chains are short: a sum of n terms in one chain has an error that grows with n.
 */

#define MOST_ROWS 6
#define ACCUMULATORS (REGISTERS / 4 * 3)
#define PAIRED_ROWS (ACCUMULATORS / 4) /* so few rows are multiplied with two panels at once */
#define TERMS 16      /* of a chain, where few rows leave registers for totals */
#define MORE_TERMS 24 /* where they do not, and each chain costs loads and stores */
#define ROWS 144 /* multiplied together at most */
#define STRETCH 512 /* columns at a time: so much of all rows stays in the second cache */
/* From so many rows on, and for so many panels, rows are copied side by side: where they lie, they may crowd a few lines
 * of the cache. */
#define COPIED_ROWS 24
#define COPIED_PANELS 8
#define PANEL (2 * W)
#define SETS(R, N) (ACCUMULATORS / ((R) * (N)))
#define CHAINS(R, N) (SETS(R, N) > 4 ? 4 : SETS(R, N))

/* sum[0] = x[r][from .. to) . weights, of N vectors, by C chains; panels other than the first lie `next` on. */
INLINE void NAME(add_up)(const int R, const int N, const int C, const T *const *x, idx base, idx from, idx to,
                         const T *w, idx next, V (*sum)[MOST_ROWS][4]) {
    const int width = N < 2 ? 1 : 2, turn = C == 1 ? 2 : C; /* columns in a turn of the loop */
    UNROLLED for (int c = 0; c < C; c++)
        UNROLLED for (int r = 0; r < R; r++)
            UNROLLED for (int v = 0; v < N; v++)
                sum[c][r][v] = SET1(0);
    idx k = from;
    for (; k + turn <= to; k += turn) {
        UNROLLED for (int u = 0; u < turn; u++) {
            V weight[4];
            UNROLLED for (int v = 0; v < N; v++)
                weight[v] = LOAD_ALIGNED(w + (k + u) * width * W + (v & 1) * W + (v >> 1) * next);
            UNROLLED for (int r = 0; r < R; r++) {
                const V number = SET1(x[r][k + u - base]);
                UNROLLED for (int v = 0; v < N; v++)
                    sum[u % C][r][v] = FMA(number, weight[v], sum[u % C][r][v]);
            }
        }
    }
    for (; k < to; k++) {
        UNROLLED for (int r = 0; r < R; r++)
            UNROLLED for (int v = 0; v < N; v++) {
                const V weight = LOAD_ALIGNED(w + k * width * W + (v & 1) * W + (v >> 1) * next);
                sum[0][r][v] = FMA(SET1(x[r][k - base]), weight, sum[0][r][v]);
            }
    }
    UNROLLED for (int c = C - 1; c > 0; c--)
        UNROLLED for (int r = 0; r < R; r++)
            UNROLLED for (int v = 0; v < N; v++)
                sum[c > 1 ? c - 2 : 0][r][v] = ADD(sum[c > 1 ? c - 2 : 0][r][v], sum[c][r][v]);
}

/* z[r][0 .. columns) = begin[r] + x[r][from .. to) . weights; what it begins with, which may be large, is added last. */
INLINE void NAME(tile)(const int R, const int N, const int C, const T *const *x, idx base, idx from, idx to, const T *w,
                       idx next, const T *bias, T *const *z, idx column, idx columns) {
    V total[MOST_ROWS][4], sum[4][MOST_ROWS][4];
    UNROLLED for (int r = 0; r < R; r++)
        UNROLLED for (int v = 0; v < N; v++)
            total[r][v] = SET1(0);
    const idx terms = (R <= 3 ? TERMS : MORE_TERMS) * C;
    for (idx k = from, end; k < to; k = end) {
        end = to - k < terms ? to : k + terms;
        NAME(add_up)(R, N, C, x, base, k, end, w, next, sum);
        UNROLLED for (int r = 0; r < R; r++)
            UNROLLED for (int v = 0; v < N; v++)
                total[r][v] = ADD(total[r][v], sum[0][r][v]);
    }
    UNROLLED for (int r = 0; r < R; r++) {
        const T *begin = bias ? bias : z[r] + column;
        UNROLLED for (int v = 0; v < N; v++) {
            if (columns == N * W)
                STORE(z[r] + column + v * W, ADD(LOAD(begin + v * W), total[r][v]));
            else
                NAME(store_part)(z[r] + column + v * W,
                                 ADD(NAME(load_part)(begin + v * W, columns - v * W), total[r][v]), columns - v * W);
        }
    }
}

#define TILE(R, N)                                                                                         \
    case (R) * 8 + (N):                                                                                    \
        NAME(tile)(R, N, CHAINS(R, N), x, base, from, to, w, next, bias, z, column, columns);                    \
        break;

static void NAME(any_tile)(idx rows, idx vectors, const T *const *x, idx base, idx from, idx to, const T *w, idx next,
                           const T *bias, T *const *z, idx column, idx columns) {
    switch (rows * 8 + vectors) {
        TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1)
        TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2) TILE(5, 2) TILE(6, 2)
        TILE(1, 4) TILE(2, 4) TILE(3, 4)
#if PAIRED_ROWS > 3
        TILE(4, 4) TILE(5, 4) TILE(6, 4)
#endif
    }
}

/* Copy columns from .. to of some rows side by side. */
static void NAME(copy_rows)(const T *const *x, idx rows, idx from, idx to, T *scratch, const T **copies) {
    for (idx r = 0; r < rows; r++) {
        copies[r] = memcpy(scratch, x[r] + from, (size_t)(to - from) * sizeof(T));
        scratch += STRETCH + 64 / sizeof(T); /* rows do not begin at the same place of a cache */
    }
}

static idx NAME(panels)(idx size) {
    return (size + PANEL - 1) / PANEL;
}

/* z[n] = (bias or z[n]) + x[n] . weights, in the columns of the panels first .. end; `finish` ends each tile. */
static void NAME(product)(const T *const *x, T *const *z, idx rows, const T *weights, idx size, idx columns, idx first,
                          idx end, const T *bias, int backward, const NAME(ending) *finish, const T *const *h,
                          T *scratch) {
    const idx at_once = rows <= PAIRED_ROWS ? 2 : 1, units = (end - first + at_once - 1) / at_once;
    const idx stretch = at_once > 1 || columns <= STRETCH ? columns : STRETCH;
    const idx groups = (rows + MOST_ROWS - 1) / MOST_ROWS, least = rows / groups, larger = rows % groups;
    const int copied = rows >= COPIED_ROWS && units >= COPIED_PANELS;
    const T *copies[ROWS];
    idx from = 0;
    do {
        const idx to = columns - from < stretch ? columns : from + stretch;
        const T *const *rows_of_x = copied ? copies : x;
        const idx base = copied ? from : 0;
        if (copied)
            NAME(copy_rows)(x, rows, from, to, scratch, copies);
        for (idx unit = 0; unit < units; unit++) {
            const idx p = first + (backward ? units - 1 - unit : unit) * at_once, column = p * PANEL;
            idx width = (p + at_once < end ? at_once : end - p) * PANEL;
            width = size - column < width ? size - column : width;
            const idx vectors = (width + W - 1) / W, wide = vectors == 3 ? 2 : vectors;
            const T *begin = from || !bias ? NULL : bias + column, *panel = weights + column * columns;
            for (idx g = 0, row = 0; g < groups; g++) {
                const idx next = row + least + (g < larger);
                NAME(any_tile)(next - row, wide, rows_of_x + row, base, from, to, panel, PANEL * columns, begin, z + row,
                               column, vectors == 3 ? PANEL : width);
                if (vectors == 3)
                    NAME(any_tile)(next - row, 1, rows_of_x + row, base, from, to, panel + PANEL * columns, 0,
                                   begin ? begin + PANEL : NULL, z + row, column + PANEL, width - PANEL);
                if (finish && to == columns)
                    finish->apply(finish, z + row, h + row, next - row, column, width);
                row = next;
            }
        }
        from = to;
    } while (from < columns);
}

/* The product of a single row with W_aa; `finish` ends a tile as soon as it is there, while the next is multiplied. */
static void NAME(row_product)(const T *x, T *z, const T *weights, idx size, int backward, const NAME(ending) *finish) {
    const idx wide = 2 * PANEL, units = (size + wide - 1) / wide;
    for (idx unit = 0; unit < units; unit++) {
        const idx column = (backward ? units - 1 - unit : unit) * wide, left = size - column;
        const idx width = left < wide ? left : wide, vectors = (width + W - 1) / W;
        const T *panel = weights + column * size;
        if (width == wide)
            NAME(tile)(1, 4, CHAINS(1, 4), &x, 0, 0, size, panel, PANEL * size, NULL, &z, column, wide);
        else
            NAME(any_tile)(1, vectors == 3 ? 2 : vectors, &x, 0, 0, size, panel, PANEL * size, NULL, &z, column,
                           vectors == 3 ? PANEL : width);
        if (vectors == 3)
            NAME(any_tile)(1, 1, &x, 0, 0, size, panel + PANEL * size, 0, NULL, &z, column + PANEL, width - PANEL);
        finish->apply(finish, &z, &x, 1, column, width);
    }
}
