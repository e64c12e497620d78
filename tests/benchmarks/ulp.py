"""Measure how far tanh and sigmoid of the CPU kernels are from the truth, in units in the last place.

python tests/benchmarks/ulp.py                     # every float32, and millions of float64; exit code 1 above 2 units
RNN_CPU_KERNEL=plain python tests/benchmarks/ulp.py --stride 97

The truth is computed in a wider type.  For float32 that is NumPy's of float64, which is right to within 4 of its own
units in the last place: 2^-27 of float32's, so the measured errors are off by as little.  For float64 it is NumPy's of
long doubles, whose 64 bits make its units 2^-11 of float64's.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import rnn_backends as rb
from rnn_backends.backends.cpu_kernels import choice
from rnn_backends.core.arrays import Host

Function = Callable[[Host], Host]

ALLOWED = 2.0
CHUNK = 1 << 18
STATES = 16
WIDER: dict[str, Any] = {"float32": np.float64, "float64": np.longdouble}


class Worst(NamedTuple):
    """The largest error in units in the last place, and the argument that has it."""

    error: float
    at: float


def sigmoid(z: Host) -> Host:
    """Return the sigmoid function of z, in its own type."""
    p: Host = np.exp(-np.abs(z))
    found: Host = np.where(z < 0, p, 1) / (1 + p)
    return found


TRUTHS: dict[str, Function] = {"tanh": np.tanh, "sigmoid": sigmoid}


def walked(activation: str, x: Host) -> Host:
    """Return the activation of numbers, by a step of a network whose W_ih is the identity.

    What is not finite is taken as 0: beside it a product has no other numbers.
    """
    eye = np.eye(STATES, dtype=x.dtype)
    rnn = rb.RNN([rb.Layer(rb.Cell(eye, 0 * eye, activation=activation))], takes="features").to("numpy")
    rows = np.zeros((1, -(-x.size // STATES), STATES), x.dtype)
    rows.reshape(-1)[: x.size] = np.where(np.isfinite(x), x, 0)
    result: Host = rnn(rows)[0].reshape(-1)[: x.size]
    return result


def errors(actual: Host, truth: Host, least: Host | float = 0.0) -> Host:
    """Return the errors in units in the last place, or in `least` where that is more; infinite where one is NaN."""
    with np.errstate(all="ignore"):
        rounded = truth.astype(actual.dtype)
        off: Host = np.abs(actual - truth) / np.maximum(np.spacing(np.abs(rounded)), least)
    off[(actual == rounded) & np.isinf(rounded) | np.isnan(actual) & np.isnan(truth)] = 0.0
    off[np.isnan(off)] = np.inf
    return off


def worst(function: Function, truth: Function, xs: Iterable[Host]) -> Worst:
    """Return the largest error of a function over chunks of arguments, its truth being one in a wider type."""
    found = Worst(0.0, 0.0)
    for x in xs:
        with np.errstate(all="ignore"):  # a signalling NaN
            off = errors(function(x), truth(x.astype(WIDER[x.dtype.name])))
        off[~np.isfinite(x)] = 0.0
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
    print(f"kernel: {choice.state()}")
    found = []
    for activation, truth in TRUTHS.items():
        for name, xs in (("float32", all_float32(arguments.stride)), ("float64", some_float64(arguments.float64))):
            start = time.perf_counter()
            one = worst(partial(walked, activation), truth, xs)
            seconds = time.perf_counter() - start
            print(f"{activation}, {name}: {one.error:.4f} ulp at {one.at!r}, {seconds:.0f} s", flush=True)
            found.append(one.error)
    return 0 if max(found) <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
