"""The mathematics of the forward propagation, in operations of the array API standard."""
