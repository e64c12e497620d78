"""The recurrence on NVIDIA GPUs: kernels in CUDA C++ that CuPy compiles for a class of shapes, and their plans."""
