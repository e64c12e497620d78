"""The one source of choices: bytes, of a fuzzer that follows coverage or of a seeded generator.

Where the bytes end, each choice is the first, and so a short input is a sound file, and a longer one a stranger one.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")

NUMBERS = (
    0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 32, 33, 64, 127, 128, 255, 256, 1000, 4095, 2**15, 2**16 - 1, 2**16, 10**6, 2**31 - 1, 2**31,
    2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -1, -2, -(2**31), -(2**63), 10**30,
)  # fmt: skip
TEXTS = (
    "", "a", "x" * 70, "é", "\0", "\n", "😀", "\ud800", "{", "'", "/", "..", "a/b", "a.b", "weight", "tanh", "0", "-1",
    "1e400", "None", "__class__", "y" * 300, "layers", "steps", "tokens", "params", "os.system",
)  # fmt: skip


class Draw:
    """Choices by bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def is_over(self) -> bool:
        return self.at >= len(self.data)

    def byte(self) -> int:
        if self.at >= len(self.data):
            return 0
        self.at += 1
        return self.data[self.at - 1]

    def below(self, count: int) -> int:
        """Return a number from 0 up to a count, which is not reached."""
        if count <= 1:
            return 0
        found = self.byte()
        if count > 256:
            found = found << 8 | self.byte()
        if count > 2**16:
            found = found << 8 | self.byte()
        return found % count

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def once(self, of: int) -> bool:
        """Return whether something that is done once in so many cases is done in this one."""
        return self.below(of) == of - 1

    def number(self) -> int:
        return self.pick(NUMBERS)

    def text(self) -> str:
        return self.pick(TEXTS)

    def octets(self, most: int) -> bytes:
        return bytes(self.byte() for _ in range(self.below(most + 1)))

    def value(self) -> Any:
        """Return a value that JSON can hold, and that is probably wrong where it is put."""
        kind = self.below(9)
        if kind == 0:
            return self.number()
        if kind == 1:
            return self.text()
        if kind == 2:
            return self.pick((0.5, -0.0, 1e300, float("inf"), float("-inf"), float("nan"), 5e-324))
        if kind == 3:
            return [self.number() for _ in range(self.below(5))]
        if kind == 4:
            return {self.text(): self.text()}
        return self.pick((None, True, False, [], {}, [[]], "", [None], {"": {}}))


def edited(draw: Draw, items: list[T], donors: Sequence[T]) -> None:
    """Change a list in one of its places: without the item, with it twice, with another in its place or beside it."""
    if not items:
        return
    at, kind = draw.below(len(items)), draw.below(6)
    if kind == 0:
        del items[at]
    elif kind == 1:
        items.insert(at, items[draw.below(len(items))])
    elif kind == 2:
        other = draw.below(len(items))
        items[at], items[other] = items[other], items[at]
    elif kind == 3:
        items[at] = draw.pick(donors)
    elif kind == 4:
        items.insert(at, draw.pick(donors))
    else:
        end = min(len(items), at + 1 + draw.below(8))
        times = draw.pick((2, 2, 2, 3, 3, 20, 20, 300))
        items[at:end] = items[at:end] * (times if len(items) < 5000 else 2)


def damaged(draw: Draw, whole: bytes) -> bytes:
    """Return bytes with a few changes of one kind."""
    data = bytearray(whole)
    kind, at = draw.below(5), draw.below(max(len(data), 1))
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        data[at : at + draw.below(33)] = draw.octets(32)
    elif kind == 2:
        other, length = draw.below(max(len(data), 1)), draw.below(64)
        data[at : at + length] = data[other : other + length]
    elif kind == 3:
        size = draw.pick((1, 2, 4, 8))
        data[at : at + size] = (draw.number() % 256**size).to_bytes(size, draw.pick(("little", "big")))
    else:
        for _ in range(1 + draw.below(8)):
            place = draw.below(max(len(data), 1))
            data[place : place + 1] = bytes([draw.byte()])
    return bytes(data)
