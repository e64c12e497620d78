"""Measure how far the compiled tanh is from the truth, in units in the last place.

python tests/benchmarks/ulp.py            # every float32, and millions of float64; exit code 1 above 2 units

The truth is tanh in a wider type.  For float32 that is NumPy's of float64, which is right to within 4 of its own
units in the last place: 2^-27 of float32's, so the measured errors are off by as little.  For float64 it is NumPy's of
long doubles, whose 64 bits make its units 2^-11 of float64's.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.backends.compiled.activate import NUMBERS, activate
from rnn_backends.core.arrays import Host

ALLOWED = 2.0
CHUNK = 1 << 18
WIDER: dict[str, Any] = {"float32": np.float64, "float64": np.longdouble}


class Worst(NamedTuple):
    """The largest error in units in the last place, and the argument that has it."""

    error: float
    at: float


def compiled_tanh(x: Host) -> Host:
    """Return tanh(x) by the function that walks networks."""
    z = x.copy()
    activate(NUMBERS["tanh"], x.dtype.type(0), x.dtype.type(0), z, np.uint64(0), np.uint64(z.size))
    return z


def errors(actual: Host, truth: Host, least: Host | float = 0.0) -> Host:
    """Return the errors in units in the last place, or in `least` where that is more; infinite where one is NaN."""
    with np.errstate(all="ignore"):
        rounded = truth.astype(actual.dtype)
        off: Host = np.abs(actual - truth) / np.maximum(np.spacing(np.abs(rounded)), least)
    off[(actual == rounded) & np.isinf(rounded) | np.isnan(actual) & np.isnan(truth)] = 0.0
    off[np.isnan(off)] = np.inf
    return off


def worst(xs: Iterable[Host]) -> Worst:
    """Return the largest error over chunks of arguments."""
    found = Worst(0.0, 0.0)
    for x in xs:
        with np.errstate(all="ignore"):  # a signalling NaN
            off = errors(compiled_tanh(x), np.tanh(x.astype(WIDER[x.dtype.name])))
        place = int(off.argmax())
        found = max(found, Worst(float(off[place]), float(x[place])))
    return found


def all_float32(stride: int = 1, first: int = 0) -> Iterator[Host]:
    """Yield every `stride`-th of the 2^32 patterns of bits, from one on, as float32."""
    for start in range(first, 1 << 32, CHUNK * stride):
        yield np.arange(start, min(start + CHUNK * stride, 1 << 32), stride, dtype=np.uint32).view(np.float32)


def some_float64(count: int, seed: int = 0) -> Iterator[Host]:
    """Yield float64 of every kind: all patterns of bits, all sizes, where tanh bends, and on either side of seams."""
    random = np.random.default_rng(seed)
    seams = np.concatenate(
        [[0.0, 0.4, 0.625, 19.0, 19.1, np.inf], np.log(2) / 4 * np.arange(1, 120), 2.0 ** np.arange(-1074, 10)]
    )
    steps = np.concatenate([near(seams, step) for step in range(-8, 9)])
    yield np.concatenate([steps, -steps])
    for start in range(0, count, CHUNK):
        drawn = random.integers(0, 1 << 64, min(CHUNK, count - start), dtype=np.uint64).view(np.float64)
        sign = np.where(np.signbit(drawn), -1.0, 1.0)
        yield drawn
        yield sign * random.uniform(0, 20, drawn.size)
        yield sign * 2.0 ** random.uniform(-30, 5, drawn.size)


def near(x: Host, steps: int) -> Host:
    """Return the numbers so many float64 above some that are not negative, or below them."""
    return (x.view(np.int64) + steps).clip(0).view(np.float64)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stride", type=int, default=1, help="check one float32 in so many")
    parser.add_argument("--float64", type=int, default=2_000_000, metavar="COUNT", help="times 3: default 2000000")
    arguments = parser.parse_args()
    if np.finfo(np.longdouble).nmant < 63:
        parser.error("the long doubles of this machine are no wider than float64; measure elsewhere")
    found = []
    for name, xs in (("float32", all_float32(arguments.stride)), ("float64", some_float64(arguments.float64))):
        start = time.perf_counter()
        found.append(worst(xs))
        print(f"{name}: {found[-1].error:.4f} ulp at {found[-1].at!r}, {time.perf_counter() - start:.0f} s", flush=True)
    return 0 if all(each.error <= ALLOWED for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
