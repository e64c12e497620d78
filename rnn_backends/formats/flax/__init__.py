"""Flax's parameters and files."""
