"""The readout of the least squared error: the sums of all chunks of all sequences, and the solution of them."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from rnn_backends.backends.transfer import as_host, receive, to_numpy
from rnn_backends.core.arrays import FLOATING, Array, array_namespace, cast, dtype_name, is_array, is_integer
from rnn_backends.core.masking import KeptSteps
from rnn_backends.core.messages import got, shown
from rnn_backends.core.numbers import finite_float
from rnn_backends.core.ridge import Moments, solved
from rnn_backends.core.stored import steps_of
from rnn_backends.errors import ArgumentError, BackendUnavailableError, DTypeError, ShapeError
from rnn_backends.model.chunk import Chunk, counted
from rnn_backends.model.chunks import ChunkedCall
from rnn_backends.model.fit_lists import Given, batches_of, is_list_of
from rnn_backends.model.init import require_integer
from rnn_backends.model.placed import Placed
from rnn_backends.model.reading import summarize

WIDEST = ("float64", "float32")
"""The dtypes that sums are computed in; the first that a library has."""


def fitted_readout(
    placed: Placed, given: tuple[Any, ...], ridge: Any, washout: Any, reads: str | None
) -> tuple[Array, Array]:
    """Return weight and bias of the readout on the model's device, in its dtype; see `RNN.fit_readout`."""
    penalty = finite_float("ridge", ridge)
    if penalty < 0:
        msg = f"`ridge` must be at least 0; got {got(ridge)}."
        raise ArgumentError(msg)
    require_integer("washout", washout, 0)
    is_list = is_list_of(given[0], placed.network.takes)
    fit = _Fit(placed, int(washout), placed.require_reads(reads), is_list=is_list)
    calls = batches_of(placed, fit.reads, Given(*given)) if is_list else iter([Given(*given)])
    moments: Moments | None = None
    with placed.on_device():
        for call in calls:
            for part in fit.moments(call):
                moments = part if moments is None else moments.joined(part)
        if moments is None:
            raise ArgumentError(fit.none_left())
        return fit.solved(moments, penalty)


class _Fit:
    """The fit of a readout: where and how sums are computed."""

    def __init__(self, placed: Placed, washout: int, reads: str, *, is_list: bool) -> None:
        if washout and reads != "steps":
            msg = (
                f"`washout` leaves out steps of a readout of every step; this one reads the {shown(reads)} of each "
                "sequence. Leave it out, or mask the first steps."
            )
            raise ArgumentError(msg)
        self.placed = Placed(replace(placed.network, readout=()), placed.placement)
        self.washout, self.reads, self.is_list = washout, reads, is_list
        backend = placed.placement.backend
        self.dtype = next(name for name in WIDEST if name in backend.dtypes())
        self.own_dtype = backend.dtype(self.dtype)
        if not hasattr(getattr(backend.xp, "linalg", None), "eigh"):
            msg = (
                f"fit_readout needs linalg.eigh, of an extension of the array API standard, which the backend "
                f"{shown(backend.name)} lacks; fit the model elsewhere, e.g. rnn.to('numpy')."
            )
            raise BackendUnavailableError(msg)
        self.longest = 0

    def none_left(self) -> str:
        """Return the message that there is no step to fit to."""
        if 0 < self.longest <= self.washout:
            return (
                f"a washout of {self.washout} leaves no step to fit to: the longest sequence has {self.longest}. Take "
                "a smaller one, or more steps."
            )
        return "no step is left to fit to, after `lengths`, `mask` and `washout`; give more steps."

    def moments(self, given: Given) -> Iterator[Moments]:
        """Yield the sums of each chunk of a call."""
        call = ChunkedCall(self.placed, given.x, given.h_0, given.lengths, given.mask)
        y = self._required(call, given.y)
        self.longest = max(self.longest, self._longest(call, given.lengths))
        if self.reads != "steps":
            if call.seq_len and call.sequences:
                read, has_step = summarize(call, self.reads)
                yield self._of(read, self._moved(y), has_step)
            return
        if self.longest <= self.washout:
            return
        before: list[Any] = [0]
        for part in call.each(partial(self._of_chunk, call, y, before)):
            if part is not None:
                yield part

    def _longest(self, call: ChunkedCall, lengths: Any) -> int:
        """Return the most steps of a sequence that the host knows of."""
        host = None if lengths is None else self.placed.as_host("lengths", lengths)
        return int(host.max(initial=0)) if isinstance(host, np.ndarray) else call.seq_len if call.sequences else 0

    def _required(self, call: ChunkedCall, y: Any) -> Any:
        """Return the outputs that are wanted, which must have the axes of the input."""
        held = as_host("y", y)
        if not is_array(held) or not (dtype_name(held) in FLOATING or is_integer(held)):
            msg = f"`y` must be an array of numbers; got {got(y)}."
            raise DTypeError(msg)
        is_steps = self.reads == "steps"
        steps = call.shape if is_steps else call.shape[1 - call.axis :][:1] if call.is_batch else ()
        if len(held.shape) != len(steps) + 1 or tuple(held.shape[:-1]) != steps or not held.shape[-1]:
            axes = ["seq_len", "batch"][: len(steps)] if is_steps else ["batch"][: len(steps)]
            names = ", ".join([*(axes[::-1] if call.axis else axes), "output_size"])
            wanted = "".join(f"{size}, " for size in steps)
            shape = f"({names}) = ({wanted}output_size)" if steps else "(output_size,)"
            msg = (
                f"`y` must have shape {shape}, one output for each "
                f"{'step' if is_steps else 'sequence'} of `x`; got {shown(tuple(held.shape))}."
            )
            raise ShapeError(msg)
        return held

    def _moved(self, y: Any) -> Array:
        """Return outputs on the device, in the dtype of the sums."""
        place = self.placed.placement
        return cast(receive("y", y, place, self.dtype, is_features=True), self.own_dtype)

    def _of_chunk(self, call: ChunkedCall, y: Any, before: list[Any], chunk: Chunk) -> Moments | None:
        """Return the sums of a chunk, whose sequences have so many valid steps before it; None if it has no step."""
        swap, start = self.placed.swap_time_axis, chunk.start
        if chunk.mask is None:
            start = min(max(start, self.washout), chunk.stop)
        if start == chunk.stop or not call.sequences:
            return None
        taken = counted(chunk)
        valid = None if taken is None else swap(taken, is_ids=True)
        states, wanted = swap(chunk.array), swap(self._moved(steps_of(y, chunk.start, chunk.stop, call.axis)))
        if chunk.mask is not None:
            valid = self._after_washout(valid, before)
        first = start - chunk.start
        return self._of(states[first:, ...], wanted[first:, ...], None if valid is None else valid[first:, ...])

    def _after_washout(self, taken: Array, before: list[Any]) -> Array:
        """Return which of the steps that a mask takes come after the washout, (seq_len, batch) or (seq_len,)."""
        xp = array_namespace(taken)
        steps = xp.reshape(taken, (taken.shape[0], -1))
        kept = KeptSteps.of(steps, None)
        found = steps & (kept.before + before[0] >= self.washout)
        before[0] = kept.counts + before[0]
        return xp.reshape(found, taken.shape)

    def _of(self, states: Array, wanted: Array, valid: Array | None) -> Moments:
        """Return the sums of states, (..., width), and of the outputs that are wanted."""
        xp = array_namespace(states)
        states, wanted = (cast(xp.reshape(each, (-1, each.shape[-1])), self.own_dtype) for each in (states, wanted))
        return Moments.of(states, wanted, None if valid is None else xp.reshape(valid, (-1,)))

    def solved(self, moments: Moments, ridge: float) -> tuple[Array, Array]:
        """Return weight and bias, in the dtype of the model."""
        xp = array_namespace(moments.squares)
        if not _number(moments.count):
            raise ArgumentError(self.none_left())
        # One that is not finite makes all sums of its row so.
        if not _number(xp.isfinite(xp.sum(moments.squares) + xp.sum(moments.products) + xp.sum(moments.targets))):
            way = (
                "cut those off, or leave their sequences out"
                if self.is_list
                else "`mask` leaves steps out, their inputs too"
            )
            msg = f"the states and `y` must be finite at all steps that are fitted to, and some are not; {way}."
            raise ArgumentError(msg)
        weight, bias, values = solved(moments, ridge)
        smallest, largest = _number(values[0]), _number(values[-1])
        rounding = float(np.finfo(self.dtype).eps) * max(largest, 0.0)
        if ridge <= rounding and smallest <= rounding * values.shape[0]:
            enough = 100 * rounding or 1e-9
            msg = (
                f"the states of {int(_number(moments.count))} steps are linearly dependent, or nearly so, and a ridge "
                f"of {ridge:g} leaves more than one readout; give a larger `ridge`, such as {enough:.1e}."
            )
            raise ArgumentError(msg)
        return self._rounded(weight, bias)

    def _rounded(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Return weight and bias in the dtype of the model, which must hold them."""
        xp, dtype = array_namespace(weight), self.placed.placement.backend.dtype(self.placed.dtype)
        with np.errstate(over="ignore"):  # which is refused
            found = cast(weight, dtype), cast(bias, dtype)
        if all(_number(xp.all(xp.isfinite(each))) for each in found):
            return found
        msg = (
            f"the readout has weights beyond what {self.placed.dtype}, the dtype of the model, holds; give `y` in "
            f"other units, a larger `ridge`, or make it wider: rnn.to(dtype={shown(self.dtype)})."
        )
        raise ArgumentError(msg)


def _number(scalar: Array) -> float:
    """Return one number of a device."""
    return float(to_numpy(array_namespace(scalar).asarray(scalar)))
