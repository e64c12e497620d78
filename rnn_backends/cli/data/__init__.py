"""What the commands read and write, beside models: arrays, text and tables."""
