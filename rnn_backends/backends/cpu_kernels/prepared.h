/* The type `Prepared`: a cell with its weights in the order in which a kernel reads them. */
#ifndef RNN_PREPARED_H
#define RNN_PREPARED_H

#include "buffers.h"

typedef struct {
    PyObject_HEAD
    cell cell;
    const kernel *kernel;
    int is_double;
    void *memory;
    sparse *sparse_hh;
} PreparedObject;

extern PyType_Spec prepared_spec;

/* The letter of float or double, as the buffer protocol has it. */
extern const char *const number_formats[2];

/* The kernels that are built, the best first; after the last one, and after the last activation, comes NULL. */
#define MOST_KERNELS 4
extern const struct named_kernel {
    const char *name;
    const kernel *kernel;
} kernels[MOST_KERNELS + 1];

extern const char *const activation_names[];

#endif
