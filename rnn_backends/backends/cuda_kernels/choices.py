"""`Choices`: which kernel takes inputs of a shape, for cells of a kind; made once, whatever their weights are."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.backends.cuda_kernels.argument import NUMBERS, SIZES, layout
from rnn_backends.backends.cuda_kernels.device import compiled, fits, properties
from rnn_backends.backends.cuda_kernels.plan import Plan, make_plan
from rnn_backends.backends.cuda_kernels.tile import Problem
from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import HALF
from rnn_backends.core.messages import shown
from rnn_backends.errors import ArgumentError

VARIABLE = "RNN_CUPY_KERNEL"

VECTOR_BYTES = 16
"""What a kernel loads at once of weights and of states, which must begin at a multiple of it therefore."""

MOST_KINDS, MOST_SHAPES = 1000, 1000
"""The kinds of cells that are remembered, and the shapes of each for which the choice is."""


class Kind(NamedTuple):
    """All that matters for the choice of a kernel, of one cell or of two that are alike, but for shapes of inputs.

    `dtype` is that of the weights, `ids` None for features; `is_whole` says that all weights W_hh and their rows begin
    at multiples of VECTOR_BYTES.
    """

    input_size: int
    hidden_size: int
    directions: int
    reverse: bool
    dtype: np.dtype[Any]
    states: np.dtype[Any]
    ids: np.dtype[Any] | None
    activation: Activation
    clip: float | None
    leak: float | None
    is_whole: bool
    device: int


class Choice(NamedTuple):
    """The kernel for inputs of one shape, on the current device, and its argument, but for addresses."""

    plan: Plan
    function: Any
    argument: bytes


class Choices:
    """The kernels for inputs of all shapes, for cells of a kind."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.macros, self.struct = kind, macros(kind), layout(kind.dtype.name)
        self.known: dict[tuple[Any, ...], Choice] = {}

    def __call__(
        self, seq_len: int, batch: int, regimes: tuple[str, ...], is_long: bool, may_use: Callable[[str, Any], bool]
    ) -> Choice | None:
        """Return the fastest kernel, as estimated, of the regimes that may be used, for inputs of a shape.

        None if there is none: `may_use` is asked with a regime and the dtype of the states. `is_long` means lengths of
        64 bits.
        """
        key = (seq_len, batch, regimes, is_long)
        choice = self.known.get(key)
        if choice is None:
            choice = self.choose(*key, may_use)
            if choice is None:
                return None
            if len(self.known) >= MOST_SHAPES:
                self.known.clear()
            self.known[key] = choice
        return choice

    def choose(
        self, seq_len: int, batch: int, regimes: tuple[str, ...], is_long: bool, may_use: Callable[[str, Any], bool]
    ) -> Choice | None:
        """Return what a call does, of a kernel all of whose blocks fit on the device if they must."""
        kind, left = self.kind, regimes
        inputs, is_half = kind.input_size if kind.ids is None else 0, kind.states.itemsize == 2
        sizes = (seq_len, batch, inputs, kind.hidden_size, kind.dtype.itemsize, kind.directions, is_half)
        problem = Problem(*sizes)
        while (plan := make_plan(problem, properties(kind.device), left)) is not None:
            if may_use(plan.regime, kind.states):
                choice = self.prepare(plan, seq_len, batch, is_long)
                if not plan.cooperative or fits(choice.function, plan):
                    return choice
            left = tuple(regime for regime in left if regime != plan.regime)
        if len(regimes) > 1:
            return None
        msg = (
            f"the kernel {shown(regimes[0])}, which {VARIABLE} names, does not take hidden_size {kind.hidden_size} "
            f"with {batch} sequences on this device. Unset the variable."
        )
        raise ArgumentError(msg)

    def prepare(self, plan: Plan, seq_len: int, batch: int, is_long: bool) -> Choice:
        """Return the kernel of a plan."""
        kind = self.kind
        chunk = VECTOR_BYTES // kind.dtype.itemsize  # the words of a state that a thread loads at once
        others = (
            ("WHOLE", int(kind.is_whole and not plan["FUSED"])),
            ("LONG_LENGTHS", int(is_long)),
            ("CHUNK", 1 if kind.hidden_size % chunk else chunk),
        )
        kernel = compiled(plan.regime, (*plan.macros, *self.macros, *others), plan.shared, kind.device)
        argument = np.zeros((), self.struct)
        pitch, blocks = kind.directions * kind.hidden_size, plan.blocks // kind.directions
        shape = (seq_len, batch, kind.hidden_size, kind.input_size, pitch)
        sizes = (*shape, kind.reverse, blocks, plan.sequences, 0, seq_len)
        given = (kind.activation.alpha, kind.activation.beta, kind.clip, kind.leak)
        numbers = (0.0 if number is None else number for number in given)
        for name, number in (*zip(SIZES, sizes, strict=True), *zip(NUMBERS, numbers, strict=True)):
            argument[name] = number
        return Choice(plan, kernel.kernel, argument.tobytes())


choices_of = lru_cache(MOST_KINDS)(Choices)


def macros(kind: Kind) -> tuple[tuple[str, Any], ...]:
    """Return the macros that kernels for a kind of cells are compiled with, beside those of a plan."""
    return (
        ("DOUBLE", int(kind.states.name == "float64")),
        *((name.upper(), int(kind.states.name == name)) for name in HALF),
        ("TOKENS", int(kind.ids is not None)),
        ("LONG_IDS", int(kind.ids == np.int64)),
        ("CLIP", int(kind.clip is not None)),
        ("LEAK", int(kind.leak is not None)),
        ("ACTIVATION", f"g1_{kind.activation.name}"),
    )
