/* The Python module: the walk of a layer of prepared cells. */
#include "pool.h"
#include "prepared.h"
#include "schedule.h"

#define MOST_THREADS 65536 /* as threads.py has it */

/* Whether the longest sequences come first, and none lies outside of what is walked. */
static int is_in_order(const walk *w) {
    for (idx place = 0; place < w->batch; place++) {
        const int64_t most = place ? w->lengths[place - 1] : w->seq_len;
        if (w->order[place] < 0 || w->order[place] >= w->batch || w->lengths[place] < 0 || w->lengths[place] > most)
            return 0;
    }
    return 1;
}

/* Fill in x: features (seq_len, batch, input_size) or token ids (seq_len, batch); return 0, or -1 with an exception. */
static int fill_x(walk *w, buffers *held, PyObject *array, const char *format) {
    const idx shape[] = {w->seq_len, w->batch, -1};
    Py_buffer probe;
    if (PyObject_GetBuffer(array, &probe, PyBUF_FORMAT | PyBUF_STRIDES) < 0)
        return -1;
    const int ndim = probe.ndim;
    PyBuffer_Release(&probe);
    const Py_buffer *x = hold(held, array, "x", ndim == 2 ? "ilq" : format, ndim == 2 ? 2 : 3, shape, 0);
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
    return 0;
}

/* Fill in the sequences, the longest first, and their lengths; return 0, or -1 with an exception. */
static int fill_lengths(walk *w, buffers *held, PyObject *of_order, PyObject *of_lengths) {
    const Py_buffer *order = hold(held, of_order, "order", "lq", 1, &w->batch, PyBUF_C_CONTIGUOUS);
    const Py_buffer *lengths = order ? hold(held, of_lengths, "lengths", "lq", 1, &w->batch, PyBUF_C_CONTIGUOUS) : NULL;
    if (lengths == NULL)
        return -1;
    w->order = order->buf;
    w->lengths = lengths->buf;
    if (order->itemsize == 8 && lengths->itemsize == 8 && is_in_order(w))
        return 0;
    PyErr_SetString(PyExc_ValueError, "`order` and `lengths` must name sequences, the longest first");
    return -1;
}

/* Fill in what the walks of all directions share; return 0, or -1 with an exception. */
static int fill_shared(walk *w, buffers *held, PyObject *const *args, const char *format) {
    const idx any[] = {-1, -1, -1};
    const Py_buffer *output = hold(held, args[1], "output", format, 3, any, PyBUF_WRITABLE);
    if (output == NULL)
        return -1;
    w->seq_len = output->shape[0];
    w->batch = output->shape[1];
    w->output = output->buf;
    w->output_step = output->strides[0] / output->itemsize;
    w->output_row = output->strides[1] / output->itemsize;
    if (fill_x(w, held, args[0], format) < 0)
        return -1;
    return args[2] == Py_None ? 0 : fill_lengths(w, held, args[2], args[3]);
}

/* Fill in a direction: its cell, states and place in the output; return 0, or -1 with an exception. */
static int fill_direction(walk *w, buffers *held, PyObject *const *args, const char *format) {
    const cell *c = &((PreparedObject *)args[0])->cell;
    const idx size = w->batch * c->hidden_size;
    const Py_buffer *last = hold_states(held, args[2], "last", format, size, PyBUF_WRITABLE);
    if (last == NULL)
        return -1;
    w->cell = c;
    w->last = last->buf;
    w->h_0 = c->zeros;
    w->h_0_row = 0;
    if (args[1] != Py_None) {
        const Py_buffer *h_0 = hold_states(held, args[1], "h_0", format, size, 0);
        if (h_0 == NULL)
            return -1;
        w->h_0 = h_0->buf;
        w->h_0_row = c->hidden_size;
    }
    w->reverse = PyObject_IsTrue(args[3]);
    return w->reverse < 0 ? -1 : 0;
}

/* Check that the cells of a layer fit each other, x and the output; return 0, or -1 with an exception. */
static int require_fitting(const walk *walks, int count, const buffers *held, PyObject *const *each) {
    idx width = 0;
    const PreparedObject *first = (PreparedObject *)each[0];
    int fits = 1;
    for (int n = 0; n < count; n++) {
        const PreparedObject *p = (PreparedObject *)each[4 * n];
        width += p->cell.hidden_size;
        fits = fits && p->kernel == first->kernel && p->is_double == first->is_double;
        fits = fits && (walks[n].id_size ? p->cell.input_size > 0 : held->views[1].shape[2] == p->cell.input_size);
    }
    const Py_buffer *output = &held->views[0];
    if (fits && output->shape[2] == width && (width < 2 || output->strides[2] == output->itemsize))
        return 0;
    PyErr_SetString(PyExc_ValueError, "the cells of a layer must fit each other, `x` and `output`");
    return -1;
}

/* Fill in the walks of all directions of a layer; return 0, or -1 with an exception. */
static int fill(walk *walks, int directions, buffers *held, PyObject *const *args) {
    const PreparedObject *first = (PreparedObject *)args[5];
    const char *format = number_formats[first->is_double];
    if (fill_shared(&walks[0], held, args, format) < 0)
        return -1;
    for (int n = directions - 1; n >= 0; n--) {
        walks[n] = walks[0];
        if (fill_direction(&walks[n], held, args + 5 + 4 * n, format) < 0)
            return -1;
    }
    if (directions == 2)
        walks[1].output += first->cell.hidden_size * (idx)itemsize(first->is_double);
    return require_fitting(walks, directions, held, args + 5);
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
    walk walks[2] = {{0}, {0}};
    buffers held;
    held.count = 0;
    int done = fill(walks, directions, &held, args);
    if (done >= 0) {
        Py_BEGIN_ALLOW_THREADS
        done = run_walks(first->kernel, first->is_double, walks, directions, (int)threads);
        Py_END_ALLOW_THREADS
        if (done < 0)
            PyErr_NoMemory();
    }
    release(&held);
    return done < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef module_methods[] = {
    {"walk", (PyCFunction)(void (*)(void))walk_layer, METH_FASTCALL,
     "walk(x, output, order, lengths, threads, *(prepared, h_0, last, reverse))\n\nWalk the cells of a layer."},
    {NULL, NULL, 0, NULL},
};

/* Add a tuple of names, of which NULL follows the last; return 0, or -1 with an exception. */
static int add_names(PyObject *module, const char *name, const char *const *names) {
    Py_ssize_t count = 0;
    while (names[count])
        count++;
    PyObject *found = PyTuple_New(count);
    for (Py_ssize_t k = 0; found && k < count; k++) {
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
    const char *built[MOST_KERNELS + 1] = {NULL}, *runs[MOST_KERNELS + 1] = {NULL};
    int count = 0;
    for (int k = 0; kernels[k].name; k++) {
        built[k] = kernels[k].name;
        if (kernels[k].kernel->runs())
            runs[count++] = kernels[k].name;
    }
    if (add_names(module, "BUILT", built) < 0 || add_names(module, "RUNS", runs) < 0)
        return -1;
    return add_names(module, "ACTIVATIONS", activation_names);
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
