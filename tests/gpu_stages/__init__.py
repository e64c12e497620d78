"""The stages of `gpu_first.py`: what each runs, how it is started, and what is made of its findings."""
