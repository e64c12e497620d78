/* The memory of arrays, by the buffer protocol: no NumPy, the stable ABI. */
#ifndef RNN_BUFFERS_H
#define RNN_BUFFERS_H

#ifndef _WIN32 /* where pyconfig.h asks for Py_LIMITED_API, and the build defines Py_GIL_DISABLED */
#include <pyconfig.h>
#endif
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#include "kernel.h"

#define MOST_BUFFERS 10

/* Buffers that are held until all are released. */
typedef struct {
    Py_buffer views[MOST_BUFFERS];
    int count;
} buffers;

/* Hold an array of numbers of one of some formats and of some shape, -1 standing for any size; NULL: an exception. */
Py_buffer *hold(buffers *, PyObject *array, const char *name, const char *formats, int ndim, const idx *shape, int flags);

/* Hold the states of a batch: so many numbers in order, whatever their shape; NULL: an exception. */
Py_buffer *hold_states(buffers *, PyObject *array, const char *name, const char *format, idx size, int flags);

void release(buffers *);

#endif
