"""Models over the arrays of xarray, by the names of their axes: ``pip install 'rnn-backends[xarray]'``."""

from typing import Any

import numpy as np

from rnn_backends.backends.transfer import to_numpy
from rnn_backends.core.arrays import Host
from rnn_backends.core.checks import require_range
from rnn_backends.core.messages import got, listed, shown
from rnn_backends.dask.tasks import Task, sent, task_of
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError
from rnn_backends.model.rnn import RNN
from rnn_backends.model.shipped import Shipped

__all__ = ["last", "predict", "probabilities"]

OUTPUT = "output"
"""The name of the axis of results, where they have one."""


def predict(
    rnn: RNN, x: Any, *, time: str, feature: str | None = None, lengths: Any = None, reads: str | None = None
) -> Any:
    """Return the ids of the largest logits, of the sequences of an xarray.DataArray.

    Where `x` holds a Dask array the result is lazy, as of ``rnn_backends.dask``; nothing is rechunked.

    Parameters
    ----------
    rnn : RNN
        Whether it is batch first makes no difference: axes are known by their names.
    x : xarray.DataArray
        With the axes of time and of features, and any others: each place of these has a sequence.
    time : str
        The name of the axis of time.
    feature : str, optional
        The name of the axis of features; there is none where `x` holds token ids.
    lengths : xarray.DataArray of integers, optional
        The number of valid steps of each sequence, with the other axes of `x`.
    reads : str, optional
        What the readout reads; default: what the model says.

    Returns
    -------
    xarray.DataArray of int64
        With the axes of the sequences and time, or those of the sequences where each is read as a whole, in this order,
        and their coordinates; the name of `x`; -1 beyond a sequence's length.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        The arguments are wrong, or time or the features are in several blocks.
    ModuleNotFoundError
        There is no xarray.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> import rnn_backends as rb
    >>> import rnn_backends.xarray
    >>> rnn = rb.RNN.init(3, 4, output_size=2, backend="numpy")
    >>> x = xr.DataArray(np.ones((5, 3, 2)), dims=("day", "variable", "place"), coords={"place": ["A", "B"]})
    >>> found = rb.xarray.predict(rnn, x, time="day", feature="variable")
    >>> found.dims, found.place.values.tolist()
    (('place', 'day'), ['A', 'B'])
    """
    return _apply("predict", rnn, x, time, feature, lengths, reads)


def probabilities(
    rnn: RNN, x: Any, *, time: str, feature: str | None = None, lengths: Any = None, reads: str | None = None
) -> Any:
    """Return g2(logits) of the sequences of an xarray.DataArray.

    Parameters
    ----------
    rnn, x, time, feature, lengths, reads
        As for `predict`.

    Returns
    -------
    xarray.DataArray
        As of `predict`, with an axis ``"output"`` at the end; in the dtype of the model, bfloat16 as float32; 0 beyond
        a sequence's length.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, ModuleNotFoundError
        As for `predict`.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> import rnn_backends as rb
    >>> import rnn_backends.xarray
    >>> rnn = rb.RNN.init(3, 4, output_size=2, backend="numpy")
    >>> x = xr.DataArray(np.ones((5, 3)), dims=("day", "variable"))
    >>> dict(rb.xarray.probabilities(rnn, x, time="day", feature="variable").sizes)
    {'day': 5, 'output': 2}
    """
    return _apply("probabilities", rnn, x, time, feature, lengths, reads)


def last(
    rnn: RNN, x: Any, *, time: str, feature: str | None = None, lengths: Any = None, reads: str | None = None
) -> Any:
    """Return the output of the last step of the sequences of an xarray.DataArray.

    Parameters
    ----------
    rnn, x, time, feature, lengths
        As for `predict`.
    reads : {"last", "final", "mean", "max"}, optional
        As for `rnn_backends.RNN.last`.

    Returns
    -------
    xarray.DataArray
        With the axes of the sequences, and ``"output"``.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, ModuleNotFoundError
        As for `predict`.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> import rnn_backends as rb
    >>> import rnn_backends.xarray
    >>> x = xr.DataArray(np.zeros((5, 2), int), dims=("letter", "word"))
    >>> dict(rb.xarray.last(rb.RNN.init(3, 4, backend="numpy"), x, time="letter").sizes)
    {'word': 2, 'output': 4}
    """
    return _apply("last", rnn, x, time, feature, lengths, reads)


def _apply(method: str, rnn: RNN, x: Any, time: str, feature: str | None, lengths: Any, reads: str | None) -> Any:
    try:
        import xarray as xr
    except ModuleNotFoundError as error:
        msg = f"rnn_backends.xarray needs {error.name}, which is not installed: pip install 'rnn-backends[xarray]'."
        raise ModuleNotFoundError(msg, name=error.name) from error
    task = task_of(method, rnn, reads)
    held = {"x": x} if lengths is None else {"x": x, "lengths": lengths}
    for name, array in held.items():
        if not isinstance(array, xr.DataArray):
            msg = f"`{name}` must be an xarray.DataArray; got {got(array)}."
            raise DTypeError(msg)
    core = [time] if feature is None else [time, feature]
    _require_axes(x, core)
    _require_steps(rnn, x, feature)
    if lengths is not None:
        _require_lengths(x, lengths, core)
    is_lazy = any(array.chunks is not None for array in held.values())
    outputs = {} if task.outputs is None else {OUTPUT: task.outputs}
    if outputs and OUTPUT in x.dims:
        msg = f"the axis {shown(OUTPUT)} is that of the results; rename that of `x`, e.g. x.rename(output='case')."
        raise ArgumentError(msg)
    return xr.apply_ufunc(
        of_places,
        *held.values(),
        _as_array(rnn, is_lazy=is_lazy),  # an argument like the others, which Dask sends to each worker once
        kwargs={"task": task},
        input_core_dims=[core, *([] for _ in held)],
        output_core_dims=[([time] if task.reads == "steps" else []) + list(outputs)],
        dask="parallelized",
        output_dtypes=[task.dtype],
        dask_gufunc_kwargs={"output_sizes": outputs},
        keep_attrs=False,
    ).rename(x.name)


def _require_axes(x: Any, core: list[str]) -> None:
    """Check that an array has the axes of steps, each in one block."""
    if core[:1] == core[1:] or not all(name in x.dims for name in core):
        msg = f"`time` and `feature` must be axes of `x`, which are {listed(x.dims)}; got {listed(core)}."
        raise ArgumentError(msg)
    sizes = dict(zip(x.dims, x.chunks or (), strict=False))
    for name in core:
        if len(sizes.get(name, ())) > 1:
            msg = (
                f"the axis {shown(name)} of `x` must be in one block; it is in {len(sizes[name])}. Call "
                f"x.chunk({{{shown(name)}: -1}}) first, or rnn_backends.dask, which carries states from block to block."
            )
            raise ShapeError(msg)


def _require_steps(rnn: RNN, x: Any, feature: str | None) -> None:
    """Check what an array holds, and the size of its features."""
    kind, size = x.dtype.kind, rnn.placed.input_size
    if kind not in "iuf":
        msg = f"`x` must hold real numbers; got a DataArray of dtype {x.dtype.name}."
        raise DTypeError(msg)
    if rnn.takes == "tokens" and kind == "f":
        msg = f"`x` must hold token ids, integers, which this model takes; got {x.dtype.name}."
        raise DTypeError(msg)
    is_ids = kind in "iu" and rnn.takes != "features"
    if is_ids and feature is not None:
        or_features = "" if rnn.takes == "tokens" else ", or convert integers that are features to floating point"
        msg = f"the integers of `x` are token ids, which have no axis of features; leave `feature` out{or_features}."
        raise ArgumentError(msg)
    if not is_ids and feature is None:
        or_ids = "." if rnn.takes == "features" else "; token ids must be integers."
        msg = f"give `feature`, the name of the axis of features, as `x` holds {x.dtype.name}{or_ids}"
        raise ArgumentError(msg)
    if feature is not None and size not in {None, x.sizes[feature]}:
        msg = f"the axis {shown(feature)} of `x` must be of input_size = {size}; it is of {x.sizes[feature]}."
        raise ShapeError(msg)


def _require_lengths(x: Any, lengths: Any, core: list[str]) -> None:
    """Check that there is a length for each sequence, at the same places, and as far as it is known that it is one."""
    import xarray as xr

    if set(lengths.dims) != set(x.dims) - set(core):
        msg = f"`lengths` must have the axes of `x` but {listed(core)}; it has {listed(lengths.dims)}."
        raise ShapeError(msg)
    if lengths.dtype.kind not in "iu":
        msg = f"`lengths` must be integers; got {lengths.dtype.name}. Convert them to int64."
        raise DTypeError(msg)
    for name in lengths.dims:
        if lengths.sizes[name] != x.sizes[name]:
            found = f"{lengths.sizes[name]} along the axis {shown(name)}, where `x` has {x.sizes[name]}"
            msg = f"`lengths` must hold one for each sequence; it has {found}."
            raise ShapeError(msg)
    try:
        xr.align(x, lengths, join="exact", copy=False)
    except ValueError as error:
        msg = "`lengths` must have the coordinates of `x`; call x, lengths = xarray.align(x, lengths) first."
        raise ArgumentError(msg) from error
    if lengths.chunks is None:
        require_range("lengths", lengths.values, x.sizes[core[0]] + 1, "length")


def _as_array(rnn: RNN, *, is_lazy: bool) -> Any:
    """Return a model as an array of no axes."""
    if not is_lazy:
        return np.array(Shipped(rnn), dtype=object)
    import dask.array as da

    return da.from_delayed(sent(rnn), (), dtype=object)


def of_places(x: Host, *rest: Any, task: Task) -> Host:
    """Return the results of the sequences at all places of the first axes; lengths, if any, stand before the model."""
    *lengths, shipped = rest
    rnn = (shipped.item() if isinstance(shipped, np.ndarray) else shipped).rnn
    count = x.ndim - (1 if x.dtype.kind in "iu" and rnn.takes != "features" else 2)
    places, steps = x.shape[:count], x.shape[count:]
    x = x.reshape((int(np.prod(places)), *steps))
    counts = np.broadcast_to(lengths[0], places).reshape(-1) if lengths else None
    x = x if rnn.batch_first else x.swapaxes(0, 1)
    found = to_numpy(getattr(rnn, task.method)(x, lengths=counts, reads=task.reads)).astype(task.dtype, copy=False)
    found = found.swapaxes(0, 1) if task.reads == "steps" and not rnn.batch_first else found
    return found.reshape((*places, *found.shape[1:]))
