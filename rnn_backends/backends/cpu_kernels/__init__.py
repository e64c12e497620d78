"""The walk of a `Cell` on the CPU, in C: one source (`walk.h`), compiled for several instruction sets."""
