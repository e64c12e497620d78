"""The CPU kernels: C, compiled into one extension module where a compiler was there."""
