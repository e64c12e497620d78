/* Cells with their weights in panels; see prepared.h. */
#include "prepared.h"

#include "sparse.h"

#include <stdlib.h>
#include <string.h>

const struct named_kernel kernels[MOST_KERNELS + 1] = {
#if defined(__x86_64__) || defined(_M_X64)
    {"avx512", &kernel_avx512},
    {"avx2", &kernel_avx2},
#elif defined(__aarch64__) || defined(_M_ARM64)
    {"neon", &kernel_neon},
#endif
#if defined(__GNUC__)
    {"plain", &kernel_plain},
#endif
};

#define ENTRY(name) #name,
const char *const activation_names[] = {ACTIVATION_NAMES(ENTRY) NULL};
#undef ENTRY

const char *const number_formats[2] = {"f", "d"};

/* Copy the parameters of a cell to memory of its own; return 0, or -1 with an exception. */
static int prepared_fill(PreparedObject *self, const Py_buffer *ih, const Py_buffer *hh, const Py_buffer *bias,
                         const Py_buffer *leaks) {
    const int d = self->is_double;
    const size_t size_of = itemsize(d);
    cell *c = &self->cell;
    const idx sizes[] = {self->kernel->packed_size[d](c->hidden_size, c->input_size),
                         hh ? self->kernel->packed_size[d](c->hidden_size, c->hidden_size) : 0, c->hidden_size,
                         c->hidden_size};
    size_t places[5] = {0};
    for (int part = 0; part < 4; part++)
        places[part + 1] = places[part] + ((size_t)sizes[part] * size_of + 63) / 64 * 64;
    self->memory = calloc(places[4] + (size_t)c->hidden_size * size_of + 64, 1);
    if (self->memory == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    char *memory = (char *)(((uintptr_t)self->memory + 63) & ~(uintptr_t)63);
    self->kernel->pack[d](ih->buf, c->hidden_size, c->input_size, memory);
    if (hh)
        self->kernel->pack[d](hh->buf, c->hidden_size, c->hidden_size, memory + places[1]);
    c->weight_ih = memory;
    c->weight_hh = hh ? memory + places[1] : NULL;
    c->bias = memory + places[2];
    if (bias)
        memcpy(memory + places[2], bias->buf, (size_t)bias->len);
    if (leaks)
        memcpy(memory + places[3], leaks->buf, (size_t)leaks->len);
    c->leaks = leaks ? memory + places[3] : NULL;
    c->zeros = memory + places[4];
    return 0;
}

/* Whether rows begin at places of the entries, one after the other, and columns are those of a matrix of this size. */
static int is_in_order(const int64_t *columns, const int64_t *starts, idx entries, idx size) {
    for (idx row = 0; row < size; row++)
        if (starts[row] < 0 || starts[row] > starts[row + 1] || starts[row + 1] > entries)
            return 0;
    for (idx n = 0; n < entries; n++)
        if (columns[n] < 0 || columns[n] >= size)
            return 0;
    return size <= INT32_MAX && starts[0] == 0 && starts[size] == entries;
}

/* Take a sparse weight_hh, a tuple (values, columns, starts); return 0, or -1 with an exception. */
static int take_sparse(PreparedObject *self, buffers *held, PyObject *parts) {
    const idx size = self->cell.hidden_size, any[] = {-1}, rows[] = {size + 1};
    if (PyTuple_Size(parts) != 3) {
        PyErr_SetString(PyExc_ValueError, "a sparse `weight_hh` has values, columns and starts");
        return -1;
    }
    const int flags = PyBUF_C_CONTIGUOUS;
    const Py_buffer *values = hold(held, PyTuple_GetItem(parts, 0), "values", number_formats[self->is_double], 1, any, flags);
    const Py_buffer *columns = values ? hold(held, PyTuple_GetItem(parts, 1), "columns", "lq", 1, values->shape, flags) : NULL;
    const Py_buffer *starts = columns ? hold(held, PyTuple_GetItem(parts, 2), "starts", "lq", 1, rows, flags) : NULL;
    if (starts == NULL)
        return -1;
    if (columns->itemsize != 8 || starts->itemsize != 8 ||
        !is_in_order(columns->buf, starts->buf, values->shape[0], size)) {
        PyErr_SetString(PyExc_ValueError, "`columns` and `starts` must name the entries of rows, in order, as int64");
        return -1;
    }
    const int lanes = self->kernel->lanes[self->is_double];
    self->sparse_hh = arrange(values->buf, columns->buf, starts->buf, size, lanes, self->is_double);
    self->cell.sparse_hh = self->sparse_hh;
    void *scratch = self->sparse_hh ? calloc((size_t)(size + 1 + MOST_SUMS), itemsize(self->is_double)) : NULL;
    if (scratch == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->sparse_hh->gathers = self->kernel->gathers[self->is_double](self->sparse_hh, size, scratch);
    free(scratch);
    return 0;
}

/* Take weight_ih, weight_hh, bias and leaks, the last two of which may be None; return 0, or -1 with an exception. */
static int prepared_take(PreparedObject *self, PyObject *const *arrays) {
    buffers held;
    held.count = 0;
    const idx any[] = {-1, -1};
    const int flags = PyBUF_C_CONTIGUOUS;
    const Py_buffer *ih = hold(&held, arrays[0], "weight_ih", "fd", 2, any, flags), *hh = NULL, *bias = NULL, *leaks = NULL;
    if (ih == NULL)
        return -1;
    self->is_double = ih->itemsize == sizeof(double);
    self->cell.hidden_size = ih->shape[0];
    self->cell.input_size = ih->shape[1];
    const idx square[] = {ih->shape[0], ih->shape[0]};
    const char *format = number_formats[self->is_double];
    int fits = PyTuple_Check(arrays[1]) ? take_sparse(self, &held, arrays[1]) == 0
                                        : (hh = hold(&held, arrays[1], "weight_hh", format, 2, square, flags)) != NULL;
    if (fits && arrays[2] != Py_None)
        fits = (bias = hold(&held, arrays[2], "bias", format, 1, square, flags)) != NULL;
    if (fits && arrays[3] != Py_None)
        fits = (leaks = hold(&held, arrays[3], "leaks", format, 1, square, flags)) != NULL;
    const int done = fits ? prepared_fill(self, ih, hh, bias, leaks) : -1;
    release(&held);
    return done;
}

static PyObject *prepared_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"kernel", "weight_ih", "weight_hh", "bias", "activation", "alpha", "beta", "clip", "leak",
                            "leaks", NULL};
    const char *kernel_name, *activation;
    PyObject *arrays[4];
    double alpha, beta, clip, leak;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sOOOsddddO", names, &kernel_name, &arrays[0], &arrays[1], &arrays[2],
                                     &activation, &alpha, &beta, &clip, &leak, &arrays[3]))
        return NULL;
    PreparedObject *self = (PreparedObject *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self == NULL)
        return NULL;
    for (int k = 0; kernels[k].name; k++)
        if (!strcmp(kernels[k].name, kernel_name) && kernels[k].kernel->runs())
            self->kernel = kernels[k].kernel;
    self->cell = (cell){.alpha = alpha, .beta = beta, .clip = clip, .leak = leak, .activation = -1};
    for (int a = 0; activation_names[a]; a++)
        if (!strcmp(activation_names[a], activation))
            self->cell.activation = a;
    if (self->kernel == NULL || self->cell.activation < 0)
        PyErr_Format(PyExc_ValueError, "there is no kernel %s here, or no activation %s", kernel_name, activation);
    else if (prepared_take(self, arrays) == 0)
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

static void prepared_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    free(((PreparedObject *)self)->memory);
    free(((PreparedObject *)self)->sparse_hh);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyType_Slot prepared_slots[] = {
    {Py_tp_new, prepared_new},
    {Py_tp_dealloc, prepared_dealloc},
    {Py_tp_doc, "A cell with its weights in the order in which a kernel reads them."},
    {0, NULL},
};

PyType_Spec prepared_spec = {
    .name = "rnn_backends.backends.cpu_kernels.compiled.Prepared",
    .basicsize = sizeof(PreparedObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = prepared_slots,
};
