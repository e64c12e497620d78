/* The records that the binding (prepared.c, module.c) and the kernels of the instruction sets (walk.h) share. */
#ifndef RNN_KERNEL_H
#define RNN_KERNEL_H

#include "pool.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

typedef ptrdiff_t idx;

static inline size_t itemsize(int is_double) {
    return is_double ? sizeof(double) : sizeof(float);
}

#define WINDOW 512                        /* rows of a sparse matrix whose sums are sorted together */
#define MOST_SUMS (WINDOW + WINDOW / 2 + 32) /* of a window, with the lanes that fill up the last vector, and a zero */
#define ABREAST 4                         /* so many rows are multiplied with a sparse matrix abreast (entries.h) */

/* Where a window of rows begins: its first vector of sums, entry, and sum that is added to another. */
typedef struct {
    idx slice, entry, join;
} window;

/* A sparse matrix as sparse.c arranges it. */
typedef struct {
    idx entries;           /* without the zeros that fill up vectors */
    const window *windows; /* and their end */
    const void *values;    /* of each slice, one vector of sums: (entries of its longest sum, lanes) */
    const int32_t *columns;
    const int32_t *counts; /* of each slice: the entries of its longest sum */
    const int32_t *joins;  /* pairs of sums of a window, of which the second is a part of the first */
    const int32_t *places; /* of each row: its sum among those of the window */
    int gathers;           /* whether the numbers of a single row are gathered by an instruction */
    int is_filled;         /* whether some sums have zeros at the column after the last one, to be as long as others */
} sparse;

/* A cell: W_ax, W_aa in panels of columns (product.h), b_a, and what becomes of z = W_aa a<t-1> + W_ax x<t> + b_a. */
typedef struct {
    idx input_size, hidden_size;
    const void *weight_ih, *weight_hh, *bias;
    const sparse *sparse_hh; /* W_aa where it is sparse, and weight_hh is NULL */
    const void *leaks; /* (hidden_size,), or NULL */
    const void *zeros; /* (hidden_size,) */
    double alpha, beta, clip, leak; /* a clip of infinity bounds nothing, a leak of 1 is none */
    int activation;
} cell;

/* The multiplications with dense weights that take as long as those of a step of so many rows with W_aa.
 *
 * An entry of a sparse one takes as long as a vector of weights: of a row, or of as many rows abreast as it has lanes. */
static inline double recurrent_work(const cell *c, idx rows, int lanes) {
    if (!c->sparse_hh)
        return (double)c->hidden_size * (double)c->hidden_size * (double)rows;
    return (double)c->sparse_hh->entries * lanes * (double)(rows < ABREAST ? rows : (rows + lanes - 1) / lanes);
}

/* Some sequences that a cell walks through; distances are counted in elements. */
typedef struct {
    const cell *cell;
    const char *x;                /* features of the cell's type; token ids, where id_size is 4 or 8 */
    idx x_step, x_row, id_size;
    const char *h_0;              /* a row for each sequence */
    idx h_0_row;                  /* 0: all begin with the same */
    char *output;                 /* a row of hidden_size numbers for each step and sequence */
    idx output_step, output_row;
    char *last;                   /* (batch, hidden_size) */
    idx seq_len, batch;
    const int64_t *order;         /* the sequences, the longest first, and their lengths; NULL: all have seq_len steps */
    const int64_t *lengths;
    int reverse;
} walk;

/* What an instruction set brings, for float [0] and double [1]; walk.h says what each does. */
typedef struct {
    int (*runs)(void); /* whether this processor has the instructions */
    int lanes[2];      /* the numbers of a vector */
    int (*gathers[2])(const sparse *, idx size, void *scratch); /* whether a matrix is multiplied faster so */
    idx (*packed_size[2])(idx size, idx columns); /* the numbers that weights (size, columns) take in panels */
    void (*pack[2])(const void *weight, idx size, idx columns, void *panels);
    idx (*panels[2])(idx size);
    idx (*steps_at_once)(const walk *, idx rows); /* the steps of so many sequences to project together */
    size_t (*scratch)(const walk *, int is_double);
    void (*walk_steps[2])(const walk *, idx first, idx end, idx from, idx to, void *scratch); /* sequences first .. end */
    void (*project_panels[2])(const walk *, idx first, idx end, idx from, idx to, void *z, void *scratch);
    void (*step_panels[2])(const walk *, idx first, idx end, idx step, void *z, void *scratch);
    void (*join_panels[2])(const walk *, idx step, idx middle, const void *left, const void *right);
} kernel;

extern const kernel kernel_avx512, kernel_avx2, kernel_neon, kernel_plain;

/* The activations by number; activations.h has a function for each. */
#define ACTIVATION_NAMES(X)                                                                            \
    X(identity) X(tanh) X(sigmoid) X(relu) X(affine) X(leaky_relu) X(thresholded_relu) X(clipped_relu) \
    X(scaled_tanh) X(hard_sigmoid) X(elu) X(softsign) X(softplus)

#endif
