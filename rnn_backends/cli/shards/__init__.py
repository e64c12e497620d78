"""The command `run` over many inputs: an output for each in a folder, made by several processes, and resumed."""
