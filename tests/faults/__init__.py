"""The machine that plants faults, and its tables."""
