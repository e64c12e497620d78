/* The memory of arrays; see buffers.h. */
#include "buffers.h"

#include <string.h>

/* Return the letter of a native type of numbers, '?' for any other. */
static char native_format(const char *format) {
    const uint16_t one = 1;
    const char own = *(const char *)&one ? '<' : '>';
    if (format == NULL)
        return '?';
    if (*format == '@' || *format == '=' || *format == own)
        format++;
    return *format && !format[1] ? *format : '?';
}

static int is_aligned(const Py_buffer *view) {
    return (uintptr_t)view->buf % (uintptr_t)view->itemsize == 0;
}

Py_buffer *hold(buffers *held, PyObject *array, const char *name, const char *formats, int ndim, const idx *shape,
                int flags) {
    Py_buffer *view = &held->views[held->count];
    if (PyObject_GetBuffer(array, view, flags | PyBUF_FORMAT | PyBUF_STRIDES) < 0)
        return NULL;
    int fits = view->ndim == ndim && strchr(formats, native_format(view->format)) != NULL && is_aligned(view);
    for (int axis = 0; fits && axis < ndim; axis++)
        fits = (shape[axis] < 0 || view->shape[axis] == shape[axis]) && view->strides[axis] % view->itemsize == 0;
    if (fits) {
        held->count++;
        return view;
    }
    PyErr_Format(PyExc_BufferError, "`%s` has another shape, type or alignment than the walk takes", name);
    PyBuffer_Release(view);
    return NULL;
}

Py_buffer *hold_states(buffers *held, PyObject *array, const char *name, const char *format, idx size, int flags) {
    Py_buffer *view = &held->views[held->count];
    if (PyObject_GetBuffer(array, view, flags | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0) {
        if (PyErr_ExceptionMatches(PyExc_ValueError)) /* as NumPy says it */
            PyErr_Format(PyExc_BufferError, "`%s` is not in order, or is to be written and cannot be", name);
        return NULL;
    }
    if (native_format(view->format) == *format && view->len == size * view->itemsize && is_aligned(view)) {
        held->count++;
        return view;
    }
    PyErr_Format(PyExc_BufferError, "`%s` has another size, type or alignment than the walk takes", name);
    PyBuffer_Release(view);
    return NULL;
}

void release(buffers *held) {
    while (held->count > 0)
        PyBuffer_Release(&held->views[--held->count]);
}
