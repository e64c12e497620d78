"""The harness of the benchmarks: problems, contestants, and the timing of them in turn."""
