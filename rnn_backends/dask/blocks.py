"""`Blocks`: a Dask array as blocks of sequences, and what a model makes of them."""

from math import isnan
from typing import Any

import numpy as np

from rnn_backends.backends.transfer import ArraySpec, as_host
from rnn_backends.core import checks
from rnn_backends.core.messages import got, shown
from rnn_backends.dask.tasks import Task, carried_on, finished, sent, whole
from rnn_backends.errors import DTypeError, ShapeError
from rnn_backends.model.rnn import RNN


class Blocks:
    """The blocks of an array, which is checked as soon as this is made, and nothing of it computed.

    Parameters
    ----------
    rnn : RNN
    task : Task
    x : dask.array.Array
    lengths : dask.array.Array or integers on the host, optional
    """

    def __init__(self, rnn: RNN, task: Task, x: Any, lengths: Any) -> None:
        self.rnn, self.task = rnn, task
        self.is_ids = x.dtype.kind in "iu" and rnn.takes != "features"
        self._require_array(x)
        self.has_batch = x.ndim == 3 - self.is_ids
        if not self.has_batch:
            x = x[None] if rnn.batch_first else x[:, None]
        self.x = x
        self.time, self.batch = (1, 0) if rnn.batch_first else (0, 1)
        self._require_blocks()
        self.lengths = None if lengths is None else self._lengths(lengths)

    def _require_array(self, x: Any) -> None:
        """Check what is known of the array."""
        kind = type(x._meta)  # noqa: SLF001  # Dask has no other name for it
        if issubclass(kind, np.ma.MaskedArray):
            msg = (
                "the blocks of `x` must not be masked arrays, whose masks would be lost; call "
                "dask.array.ma.filled(x, 0) and give the numbers of steps as `lengths`."
            )
            raise DTypeError(msg)
        if kind is not np.ndarray:
            msg = (
                f"the blocks of `x` must be NumPy's; they are of {kind.__name__}. Give them as they are before they "
                "are moved to a device: each worker moves them to its own."
            )
            raise DTypeError(msg)
        if x.dtype.kind not in "iuf":
            msg = f"`x` must hold real numbers; got a Dask array of dtype {x.dtype.name}."
            raise DTypeError(msg)
        placed, shape = self.rnn.placed, x.shape
        if not self.is_ids and x.ndim and isnan(shape[-1]):
            msg = "the number of features of `x` must be known; call x.compute_chunk_sizes() first."
            raise ShapeError(msg)
        dtype = "int32" if self.is_ids else self.rnn.dtype
        checks.require_input(placed.network, ArraySpec(tuple(shape), dtype))

    def _require_blocks(self) -> None:
        """Check that features are in one block, and time where it must be."""
        blocks = self.x.numblocks
        if not self.is_ids and blocks[2] > 1:
            again = f"x.rechunk({{{1 + self.has_batch}: -1}})"
            msg = f"the features of `x` must be in one block; they are in {blocks[2]}. Call {again} first."
            raise ShapeError(msg)
        axis = self.time if self.has_batch else 0
        if blocks[self.time] > 1 and self.rnn.placed.has_backward:
            msg = (
                f"backward cells start at the end of a sequence, and the time of `x` is in {blocks[self.time]} blocks; "
                f"call x.rechunk({{{axis}: -1}}) first."
            )
            raise ShapeError(msg)
        if blocks[self.time] > 1 and isnan(self.x.shape[self.time]):
            msg = "steps in several blocks must be known in number; call x.compute_chunk_sizes() first."
            raise ShapeError(msg)

    def _lengths(self, given: Any) -> Any:
        """Return the lengths in blocks of sequences as those of the array."""
        import dask.array as da

        if not self.has_batch:
            msg = "`lengths` needs a batch of sequences; for a single one, pass x[:length] instead."
            raise ShapeError(msg)
        chunks, count, seq_len = self.x.chunks[self.batch], self.x.shape[self.batch], self.x.shape[self.time]
        is_lazy = isinstance(given, da.Array)
        held = given if is_lazy else as_host("lengths", given)
        if not is_lazy and not isinstance(held, np.ndarray):
            msg = f"`lengths` must be a Dask array or integers on the host; got {got(given)}."
            raise DTypeError(msg)
        if held.dtype.kind not in "iu":
            msg = f"`lengths` must be integers; got {held.dtype.name}. Convert them to int64."
            raise DTypeError(msg)
        is_known = not isnan(count)
        fits = held.ndim == 1 and (held.shape == (count,) if is_known else is_lazy and held.numblocks == (len(chunks),))
        if not fits:
            unknown = ", in blocks as those of `x`, whose sizes are not known" if not is_known else f" = ({count},)"
            msg = f"`lengths` must have shape (batch,){unknown}; got {shown(tuple(held.shape))}."
            raise ShapeError(msg)
        if is_lazy:
            return held.rechunk((chunks,)) if is_known else held
        if not isnan(seq_len):
            checks.require_range("lengths", held, seq_len + 1, "length")
        return da.from_array(held, chunks=(chunks,))

    def result(self) -> Any:
        """Return the lazy result."""
        found = self._whole() if self.x.numblocks[self.time] == 1 else self._carried()
        if self.has_batch:
            return found
        axis = self.batch if self.task.reads == "steps" else 0
        return found[(slice(None),) * axis + (0,)]

    def _whole(self) -> Any:
        """Return the results of blocks that hold all steps."""
        import dask.array as da

        of_x = "bt" if self.rnn.batch_first else "tb"
        steps = of_x if self.task.reads == "steps" else "b"
        out, axes = (steps, {}) if self.task.outputs is None else (steps + "o", {"o": self.task.outputs})
        lengths = () if self.lengths is None else (self.lengths, "b")
        meta = np.empty((0,) * len(out), self.task.dtype)
        given = (self.x, of_x if self.is_ids else of_x + "f", *lengths, sent(self.rnn), None)
        return da.blockwise(
            whole, out, *given, task=self.task, new_axes=axes, dtype=self.task.dtype, meta=meta, align_arrays=False
        )

    def _carried(self) -> Any:
        """Return the results of blocks of time, one after the other, the states being carried."""
        rnn, task = sent(self.rnn), self.task
        blocks = self.x.to_delayed()
        blocks = blocks if self.is_ids else blocks[..., 0]
        blocks = blocks.T if self.rnn.batch_first else blocks
        counts = None if self.lengths is None else self.lengths.to_delayed()
        columns = []
        for b in range(self.x.numblocks[self.batch]):
            parts, states = self._column(rnn, blocks[:, b], None if counts is None else counts[b])
            if task.reads == "steps":
                made = [self._made(part, t, b) for t, part in enumerate(parts)]
            else:
                made = [self._made(_delayed(finished)(states, rnn, task), None, b)]
            columns.append(_joined(made, self.time))
        return _joined(columns, self.batch if task.reads == "steps" else 0)

    def _made(self, part: Any, t: int | None, b: int) -> Any:
        """Return a result as an array, of a block of sequences at a block of steps or after all of them."""
        import dask.array as da

        size = self.x.chunks[self.batch][b]
        shape = [size] if t is None else [self.x.chunks[self.time][t], size]
        shape = shape[::-1] if self.rnn.batch_first else shape
        shape += [] if self.task.outputs is None else [self.task.outputs]
        return da.from_delayed(part, tuple(shape), meta=np.empty((0,) * len(shape), self.task.dtype))

    def _column(self, rnn: Any, blocks: Any, lengths: Any) -> tuple[list[Any], Any]:
        """Return the results of the steps of some sequences, and what is carried after the last."""
        parts, states = [], None
        for block in blocks:
            both = _delayed(carried_on, 2)(block, lengths, states, rnn, self.task, self.x.shape[self.time])
            parts.append(both[0])
            states = both[1]
        return parts, states


def _joined(arrays: list[Any], axis: int) -> Any:
    import dask.array as da

    return arrays[0] if len(arrays) == 1 else da.concatenate(arrays, axis, allow_unknown_chunksizes=True)


def _delayed(function: Any, nout: int | None = None) -> Any:
    from dask import delayed

    return delayed(function, pure=True, nout=nout)
