/* The Python module: cells with their weights in panels, and the walk of layers of them; no NumPy, the stable ABI. */
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "pool.h"
#include "schedule.h"

static const struct {
    const char *name;
    const kernel *kernel;
} KERNELS[] = {
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
#define KERNEL_COUNT ((int)(sizeof KERNELS / sizeof *KERNELS))

#define ENTRY(name) #name,
static const char *const ACTIVATIONS[] = {ACTIVATION_NAMES(ENTRY)};
#undef ENTRY
#define ACTIVATION_COUNT ((int)(sizeof ACTIVATIONS / sizeof *ACTIVATIONS))

typedef struct {
    PyObject_HEAD
    cell cell;
    const kernel *kernel;
    int is_double;
    void *memory;
} PreparedObject;

static const char *const NUMBERS[] = {"f", "d"};

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

/* Take the buffer of an array of some shape, -1 standing for any size; return 0, or -1 with an exception. */
static int take(PyObject *array, Py_buffer *view, const char *name, const char *formats, int ndim, const idx *shape,
                int flags) {
    if (PyObject_GetBuffer(array, view, flags | PyBUF_FORMAT | PyBUF_STRIDES) < 0)
        return -1;
    int fits = view->ndim == ndim && strchr(formats, native_format(view->format)) != NULL;
    for (int axis = 0; fits && axis < ndim; axis++)
        fits = (shape[axis] < 0 || view->shape[axis] == shape[axis]) && view->strides[axis] % view->itemsize == 0;
    if (fits && ((uintptr_t)view->buf % (uintptr_t)view->itemsize == 0))
        return 0;
    PyErr_Format(PyExc_BufferError, "`%s` has another shape, type or alignment than the walk takes", name);
    PyBuffer_Release(view);
    return -1;
}

/* Take the buffer of the states of a batch: so many numbers in order, whatever their shape. */
static int take_states(PyObject *array, Py_buffer *view, const char *name, const char *format, idx size, int flags) {
    if (PyObject_GetBuffer(array, view, flags | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0) {
        if (PyErr_ExceptionMatches(PyExc_ValueError)) /* as NumPy says it */
            PyErr_Format(PyExc_BufferError, "`%s` is not in order", name);
        return -1;
    }
    if (native_format(view->format) == *format && view->len == size * view->itemsize &&
        (uintptr_t)view->buf % (uintptr_t)view->itemsize == 0)
        return 0;
    PyErr_Format(PyExc_BufferError, "`%s` has another size, type or alignment than the walk takes", name);
    PyBuffer_Release(view);
    return -1;
}

static int prepared_fill(PreparedObject *self, Py_buffer *ih, Py_buffer *hh, Py_buffer *bias, Py_buffer *leaks) {
    const int d = self->is_double;
    const size_t itemsize = d ? 8 : 4;
    cell *c = &self->cell;
    const idx sizes[] = {self->kernel->packed_size[d](c->hidden_size, c->input_size),
                         self->kernel->packed_size[d](c->hidden_size, c->hidden_size), c->hidden_size, c->hidden_size};
    size_t places[5] = {0};
    for (int part = 0; part < 4; part++)
        places[part + 1] = places[part] + ((size_t)sizes[part] * itemsize + 63) / 64 * 64;
    self->memory = calloc(places[4] + (size_t)c->hidden_size * itemsize + 64, 1);
    if (self->memory == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    char *memory = (char *)(((uintptr_t)self->memory + 63) & ~(uintptr_t)63);
    self->kernel->pack[d](ih->buf, c->hidden_size, c->input_size, memory);
    self->kernel->pack[d](hh->buf, c->hidden_size, c->hidden_size, memory + places[1]);
    c->weight_ih = memory;
    c->weight_hh = memory + places[1];
    c->bias = memory + places[2];
    if (bias)
        memcpy(memory + places[2], bias->buf, (size_t)bias->len);
    if (leaks)
        memcpy(memory + places[3], leaks->buf, (size_t)leaks->len);
    c->leaks = leaks ? memory + places[3] : NULL;
    c->zeros = memory + places[4];
    return 0;
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
    for (int k = 0; k < KERNEL_COUNT; k++)
        if (!strcmp(KERNELS[k].name, kernel_name) && KERNELS[k].kernel->runs())
            self->kernel = KERNELS[k].kernel;
    self->cell = (cell){.alpha = alpha, .beta = beta, .clip = clip, .leak = leak, .activation = -1};
    for (int a = 0; a < ACTIVATION_COUNT; a++)
        if (!strcmp(ACTIVATIONS[a], activation))
            self->cell.activation = a;
    if (self->kernel == NULL || self->cell.activation < 0) {
        PyErr_Format(PyExc_ValueError, "there is no kernel %s here, or no activation %s", kernel_name, activation);
        Py_DECREF(self);
        return NULL;
    }
    Py_buffer views[4];
    int taken = 0, done = -1;
    const idx any[] = {-1, -1};
    if (take(arrays[0], &views[taken], "weight_ih", "fd", 2, any, PyBUF_C_CONTIGUOUS) == 0) {
        taken++;
        self->is_double = views[0].itemsize == 8;
        self->cell.hidden_size = views[0].shape[0];
        self->cell.input_size = views[0].shape[1];
        const idx square[] = {self->cell.hidden_size, self->cell.hidden_size};
        const char *format = NUMBERS[self->is_double];
        Py_buffer *bias = NULL, *leaks = NULL;
        int fits = take(arrays[1], &views[taken], "weight_hh", format, 2, square, PyBUF_C_CONTIGUOUS) == 0;
        taken += fits;
        if (fits && arrays[2] != Py_None) {
            fits = take(arrays[2], bias = &views[taken], "bias", format, 1, square, PyBUF_C_CONTIGUOUS) == 0;
            taken += fits;
        }
        if (fits && arrays[3] != Py_None) {
            fits = take(arrays[3], leaks = &views[taken], "leaks", format, 1, square, PyBUF_C_CONTIGUOUS) == 0;
            taken += fits;
        }
        done = fits ? prepared_fill(self, &views[0], &views[1], bias, leaks) : -1;
    }
    while (taken > 0)
        PyBuffer_Release(&views[--taken]);
    if (done == 0)
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

static void prepared_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    free(((PreparedObject *)self)->memory);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

#define MOST_VIEWS 10
#define MOST_THREADS 65536

typedef struct {
    Py_buffer views[MOST_VIEWS];
    int count;
} buffers;

/* Take a buffer and keep it until all are released; return it, or NULL with an exception. */
static Py_buffer *keep(buffers *kept, PyObject *array, const char *name, const char *formats, int ndim, const idx *shape,
                       int flags) {
    Py_buffer *view = &kept->views[kept->count];
    if (take(array, view, name, formats, ndim, shape, flags) < 0)
        return NULL;
    kept->count++;
    return view;
}

static void release(buffers *kept) {
    while (kept->count > 0)
        PyBuffer_Release(&kept->views[--kept->count]);
}

/* Whether the longest sequences come first, and none lies outside of what is walked. */
static int is_in_order(const walk *w) {
    for (idx place = 0; place < w->batch; place++) {
        const int64_t most = place ? w->lengths[place - 1] : w->seq_len;
        if (w->order[place] < 0 || w->order[place] >= w->batch || w->lengths[place] < 0 || w->lengths[place] > most)
            return 0;
    }
    return 1;
}

/* Fill in what the walks of all directions share; return 0, or -1 with an exception. */
static int fill_shared(walk *w, buffers *kept, PyObject *const *args, const char *format) {
    const idx any[] = {-1, -1, -1};
    const Py_buffer *output = keep(kept, args[1], "output", format, 3, any, PyBUF_WRITABLE);
    if (output == NULL)
        return -1;
    w->seq_len = output->shape[0];
    w->batch = output->shape[1];
    w->output = output->buf;
    w->output_step = output->strides[0] / output->itemsize;
    w->output_row = output->strides[1] / output->itemsize;
    const idx shape[] = {w->seq_len, w->batch, -1}, *batch = &shape[1];
    Py_buffer *x = &kept->views[kept->count];
    if (PyObject_GetBuffer(args[0], x, PyBUF_FORMAT | PyBUF_STRIDES) < 0)
        return -1;
    const int ndim = x->ndim;
    PyBuffer_Release(x);
    x = keep(kept, args[0], "x", ndim == 2 ? "ilq" : format, ndim == 2 ? 2 : 3, shape, 0);
    if (x == NULL)
        return -1;
    if (ndim == 3 && x->shape[2] > 1 && x->strides[2] != x->itemsize) {
        PyErr_SetString(PyExc_BufferError, "the features of a step of `x` must lie side by side");
        return -1;
    }
    w->x = x->buf;
    w->x_step = x->strides[0] / x->itemsize;
    w->x_row = x->strides[1] / x->itemsize;
    w->id_size = ndim == 2 ? x->itemsize : 0;
    if (args[2] != Py_None) {
        const Py_buffer *order = keep(kept, args[2], "order", "lq", 1, batch, PyBUF_C_CONTIGUOUS);
        const Py_buffer *lengths = order ? keep(kept, args[3], "lengths", "lq", 1, batch, PyBUF_C_CONTIGUOUS) : NULL;
        if (lengths == NULL)
            return -1;
        w->order = order->buf;
        w->lengths = lengths->buf;
        if (order->itemsize != 8 || lengths->itemsize != 8 || !is_in_order(w)) {
            PyErr_SetString(PyExc_ValueError, "`order` and `lengths` must name sequences, the longest first");
            return -1;
        }
    }
    return 0;
}

/* Fill in a direction: its cell, states and place in the output; return 0, or -1 with an exception. */
static int fill_direction(walk *w, buffers *kept, PyObject *const *args, const char *format) {
    const cell *c = &((PreparedObject *)args[0])->cell;
    const idx size = w->batch * c->hidden_size;
    if (take_states(args[2], &kept->views[kept->count], "last", format, size, PyBUF_WRITABLE) < 0)
        return -1;
    w->cell = c;
    w->last = kept->views[kept->count++].buf;
    w->h_0 = c->zeros;
    w->h_0_row = 0;
    if (args[1] != Py_None) {
        if (take_states(args[1], &kept->views[kept->count], "h_0", format, size, 0) < 0)
            return -1;
        w->h_0 = kept->views[kept->count++].buf;
        w->h_0_row = c->hidden_size;
    }
    w->reverse = PyObject_IsTrue(args[3]);
    return w->reverse < 0 ? -1 : 0;
}

/* Check that the cells of a layer fit each other, x and the output; return 0, or -1 with an exception. */
static int require_fitting(const walk *walks, int count, const buffers *kept, PyObject *const *each) {
    idx width = 0;
    const PreparedObject *first = (PreparedObject *)each[0];
    int fits = 1;
    for (int n = 0; n < count; n++) {
        const PreparedObject *p = (PreparedObject *)each[4 * n];
        width += p->cell.hidden_size;
        fits = fits && p->kernel == first->kernel && p->is_double == first->is_double;
        fits = fits && (walks[n].id_size ? p->cell.input_size > 0 : kept->views[1].shape[2] == p->cell.input_size);
    }
    const Py_buffer *output = &kept->views[0];
    if (fits && output->shape[2] == width && (width < 2 || output->strides[2] == output->itemsize))
        return 0;
    PyErr_SetString(PyExc_ValueError, "the cells of a layer must fit each other, `x` and `output`");
    return -1;
}

/* walk(x, output, order, lengths, threads, then for each direction: prepared, h_0, last, reverse) */
static PyObject *walk_layer(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    PyTypeObject *type = *(PyTypeObject **)PyModule_GetState(module);
    const int directions = (int)(count - 5) / 4;
    if ((count != 9 && count != 13) || Py_TYPE(args[5]) != type || Py_TYPE(args[5 + 4 * (directions - 1)]) != type) {
        PyErr_SetString(PyExc_TypeError, "walk takes x, output, order, lengths, threads and one or two cells");
        return NULL;
    }
    const long threads = PyLong_AsLong(args[4]);
    if (threads < 1 || threads > MOST_THREADS) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "threads must be 1 to %d", MOST_THREADS);
        return NULL;
    }
    const PreparedObject *first = (PreparedObject *)args[5];
    const char *format = NUMBERS[first->is_double];
    walk walks[2] = {{0}, {0}};
    buffers kept;
    kept.count = 0;
    int done = fill_shared(&walks[0], &kept, args, format);
    for (int n = 0; n < directions && done >= 0; n++) {
        walks[n] = walks[0];
        done = fill_direction(&walks[n], &kept, args + 5 + 4 * n, format);
    }
    if (directions == 2)
        walks[1].output += first->cell.hidden_size * (first->is_double ? 8 : 4);
    if (done >= 0)
        done = require_fitting(walks, directions, &kept, args + 5);
    if (done >= 0) {
        Py_BEGIN_ALLOW_THREADS
        done = run_walks(first->kernel, first->is_double, walks, directions, (int)threads);
        Py_END_ALLOW_THREADS
        if (done < 0)
            PyErr_NoMemory();
    }
    release(&kept);
    return done < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef module_methods[] = {
    {"walk", (PyCFunction)(void (*)(void))walk_layer, METH_FASTCALL,
     "walk(x, output, order, lengths, threads, *(prepared, h_0, last, reverse))\n\nWalk the cells of a layer."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot prepared_slots[] = {
    {Py_tp_new, prepared_new},
    {Py_tp_dealloc, prepared_dealloc},
    {Py_tp_doc, "A cell with its weights in the order in which a kernel reads them."},
    {0, NULL},
};

static PyType_Spec prepared_spec = {
    .name = "rnn_backends.backends.cpu_kernels.compiled.Prepared",
    .basicsize = sizeof(PreparedObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = prepared_slots,
};

static int add_names(PyObject *module, const char *name, const char *const *names, int count) {
    PyObject *found = PyTuple_New(count);
    for (int k = 0; found && k < count; k++) {
        PyObject *text = PyUnicode_FromString(names[k]);
        if (text == NULL || PyTuple_SetItem(found, k, text) < 0)
            Py_CLEAR(found);
    }
    const int done = found == NULL ? -1 : PyModule_AddObjectRef(module, name, found);
    Py_XDECREF(found);
    return done;
}

static int module_exec(PyObject *module) {
    pool_prepare_fork();
    PyObject *type = PyType_FromModuleAndSpec(module, &prepared_spec, NULL);
    if (type == NULL)
        return -1;
    *(PyObject **)PyModule_GetState(module) = type;
    if (PyModule_AddObjectRef(module, "Prepared", type) < 0)
        return -1;
    const char *built[KERNEL_COUNT], *runs[KERNEL_COUNT];
    int count = 0;
    for (int k = 0; k < KERNEL_COUNT; k++) {
        built[k] = KERNELS[k].name;
        if (KERNELS[k].kernel->runs())
            runs[count++] = KERNELS[k].name;
    }
    return add_names(module, "BUILT", built, KERNEL_COUNT) || add_names(module, "RUNS", runs, count) ||
                   add_names(module, "ACTIVATIONS", ACTIVATIONS, ACTIVATION_COUNT)
               ? -1
               : 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    Py_VISIT(*(PyObject **)PyModule_GetState(module));
    return 0;
}

static int module_clear(PyObject *module) {
    Py_CLEAR(*(PyObject **)PyModule_GetState(module));
    return 0;
}

static void module_free(void *module) {
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "compiled",
    .m_doc = "The CPU kernels.",
    .m_size = sizeof(PyObject *),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit_compiled(void) {
    return PyModuleDef_Init(&module_definition);
}
