#if !defined(Py_GIL_DISABLED)
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

const char *plain_name(void);

static PyObject *names(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return Py_BuildValue("(s)", plain_name());
}

static PyMethodDef methods[] = {
    {"names", names, METH_NOARGS, "Return the names of the kernels."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "compiled", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit_compiled(void) {
    return PyModuleDef_Init(&definition);
}
