"""The command `run`: what it reads, how it walks, and what it writes."""
