"""Files that are wrong in many ways, what loads them and what becomes of it; the entry is `python tests/fuzz`."""

from fuzz.sound import DATA, HERE, array_of_msgpack, flax_file, load, options_of, outcome
from fuzz.watch import forbid, watched

__all__ = ["DATA", "HERE", "array_of_msgpack", "flax_file", "forbid", "load", "options_of", "outcome", "watched"]
