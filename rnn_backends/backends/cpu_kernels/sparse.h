/* A sparse W_aa in the order in which the kernels read it. */
#ifndef RNN_SPARSE_H
#define RNN_SPARSE_H

#include "kernel.h"

/* Arrange the entries of a square matrix, row by row as scipy's csr_array has them, for vectors of so many lanes.
 *
 * Row i has the values and columns from starts[i] to starts[i + 1].  All is in one block of memory, for `free`; NULL
 * where there is none. */
sparse *arrange(const void *values, const int64_t *columns, const int64_t *starts, idx size, int lanes, int is_double);

#endif
