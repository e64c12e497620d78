"""The memory and work that reading one file may take, asked for before it is taken."""

from collections import Counter
from math import inf
from typing import Literal, NamedTuple

from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way

Kind = Literal["bytes", "unpacked", "objects", "text", "items", "nodes", "fields", "axes", "depth"]


class Limit(NamedTuple):
    """The most that may be taken of one kind: `floor`, and `per_byte` for each byte of the file.

    A limit that is not `summed` holds for each request alone; what is unpacked is summed with the other bytes.
    """

    unit: str
    floor: int
    per_byte: float = 0.0
    summed: bool = True
    sum_of: Kind | None = None
    advice: str = "weights_alone"


LIMITS: dict[Kind, Limit] = {
    "bytes": Limit("bytes", 32 * 2**20, 1),
    "unpacked": Limit("bytes", 48 * 2**20, 1, sum_of="bytes", advice="not_packed"),
    "objects": Limit("bytes", 48 * 2**20, 1, sum_of="bytes"),
    "text": Limit("bytes of text", 8 * 2**20, summed=False),
    "items": Limit("items", 150_000, 1 / 64),
    "nodes": Limit("nodes", 50_000, 1 / 64),
    "fields": Limit("fields", 150_000, 1 / 256),
    "axes": Limit("axes", 32, summed=False),
    "depth": Limit("levels", 128, summed=False),
}
"""Limits by kind: bytes that are read, computed, repeated or kept; bytes of arrays that are unpacked, and of
objects of Python that are counted by their bytes, together with those; bytes of a text to parse; and counts.

A load may take 64 MiB more than its file has.  Half of that is for bytes, the other half for the objects of Python that
the counts allow, and for what the libraries that are called take for themselves.
"""
ARRAY = 1536
"""Bytes of objects that an array takes beside its numbers: its name, where it lies, and what it is a part of."""


class Account:
    """The memory and work that reading one file may take, in proportion to its size.

    Every reader asks before it reads, decompresses, computes, repeats or keeps anything; what is read and looked
    through a block at a time, and not kept, takes nothing.

    Parameters
    ----------
    size : int or float
        Bytes of the file; `math.inf`, the default, for an object that the caller holds in memory already.
    copies : int, default 1
        How many times its size the bytes may be that are taken; one of a format that is read as a whole takes more.
    """

    def __init__(self, size: float = inf, copies: int = 1) -> None:
        self.size, self.copies = size, copies
        self.taken: Counter[Kind] = Counter()

    def take(self, what: str, kind: Kind, amount: int) -> None:
        """Take an amount for something, or refuse it."""
        self.require(what, kind, amount)
        if LIMITS[kind].summed:
            self.taken[LIMITS[kind].sum_of or kind] += amount

    def release(self, kind: Kind, amount: int) -> None:
        """Give back an amount of what is not held any more."""
        self.taken[LIMITS[kind].sum_of or kind] -= amount

    def require(self, what: str, kind: Kind, amount: int) -> None:
        """Refuse an amount that could not be taken."""
        limit = LIMITS[kind]
        summed = limit.sum_of or kind
        times = limit.per_byte * (self.copies if summed == "bytes" else 1)
        most = limit.floor + (times * self.size if times else 0)
        total = amount + (self.taken[summed] if limit.summed else 0)
        if total > most:
            number = f"{amount}" if amount < 2**63 else "over 2**63"
            before = f" after {total - amount}" if total > amount else ""
            whole = "an object" if self.size == inf else f"a file of {self.size} bytes"
            msg = (
                f"{what} would take {number} {limit.unit}{before}, more than the {int(most)} that {whole} may; "
                f"{way(limit.advice)}."
            )
            raise FormatError(msg)
