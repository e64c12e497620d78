"""The recurrence as machine code, compiled by Numba: a matrix product, the activations, and the walk through time."""
