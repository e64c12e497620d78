"""`Placed`: a network on a device of a backend, and how the arguments of a call come there."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from rnn_backends.backends.selection import Placement, parse
from rnn_backends.backends.transfer import as_host, move, receive
from rnn_backends.core import checks
from rnn_backends.core.arrays import Array, dtype_name, is_integer
from rnn_backends.core.layers import Linear, Network, RecurrentCell, named_arrays
from rnn_backends.core.recurrence import Recurrence, scan_layer
from rnn_backends.errors import ArgumentError
from rnn_backends.model.vocabulary import encode


@dataclass(frozen=True, eq=False, repr=False)
class Placed:
    """A network on a device, made by `place`; immutable, and safe to share between threads.

    Parameters
    ----------
    network : Network
        Its arrays are on the device.
    placement : Placement
        The backend and the name of the device.
    """

    network: Network
    placement: Placement
    _known: tuple[Any, ...] = field(default=(), init=False)
    """Dtype and shape of the NumPy array that was checked last, if such arrays need no conversion."""

    @cached_property
    def dtype(self) -> str:
        """The name of the dtype of the parameters and of all results."""
        return next((dtype_name(array) for _, array in named_arrays(self.network)), "float32")

    @cached_property
    def recurrence(self) -> Recurrence:
        """The backend's walk of a layer through time, or the default one."""
        return self.placement.backend.recurrence or scan_layer

    @cached_property
    def input_size(self) -> int | None:
        """The number of features or token ids; None for a cell of one's own that does not state it."""
        return getattr(self.cells[0], "input_size", None)

    @cached_property
    def hidden_size(self) -> int | None:
        """The size of every cell's state; None where cells differ or do not state it."""
        sizes = {getattr(cell, "hidden_size", None) for cell in self.cells}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def cells(self) -> list[RecurrentCell]:
        """The cells, layer by layer, forward before backward."""
        return [cell for layer in self.network.layers for cell, _ in layer.cells]

    @property
    def num_parameters(self) -> int:
        """The number of elements of all parameters."""
        return sum(prod(array.shape) for _, array in named_arrays(self.network))

    @cached_property
    def _device(self) -> Any:
        """The library's own object for the device."""
        return self.placement.backend.device(self.placement.device)

    def on_device(self) -> AbstractContextManager[Any]:
        """Return a context in which the library makes arrays on the device."""
        return self.placement.backend.on(self._device)

    def on_host(self) -> Network:
        """Return the network on NumPy, bfloat16 as float32."""
        return move(self.network, parse("numpy", "the default"), "float32" if self.dtype == "bfloat16" else None)

    def as_host(self, name: str, value: Any) -> Any:
        """Return an argument as `transfer.as_host` does, text as token ids, and None as it is."""
        if isinstance(value, str) and name in {"x", "targets"}:
            return encode(value, self.network.vocabulary)
        return None if value is None and name != "x" else as_host(name, value)

    def receive(self, x: Any, h_0: Any = None, lengths: Any = None, mask: Any = None) -> tuple[Any, ...]:
        """Move the arguments of a call to the device, check them and bring them to (seq_len, batch, ...)."""
        if h_0 is None and lengths is None and mask is None and self._is_known(x):
            return self.swap_time_axis(x, x.dtype.kind != "f"), None, None, None
        layers, batch_first = self.network.layers, self.network.batch_first
        given = {"x": x, "h_0": h_0, "lengths": lengths, "mask": mask}
        host = {name: self.as_host(name, value) for name, value in given.items()}
        moved = {
            name: None if value is None else receive(name, value, self.placement, self.dtype)
            for name, value in host.items()
        }
        checks.require_call(layers, **moved, batch_first=batch_first)
        checks.require_values(layers, host["x"], host["lengths"], host["mask"], batch_first)
        self._remember(x, moved["x"])
        mask = None if mask is None else self.swap_time_axis(moved["mask"], is_ids=True)
        return self.swap_time_axis(moved["x"], is_integer(moved["x"])), moved["h_0"], moved["lengths"], mask

    def _is_known(self, x: Any) -> bool:
        """Return whether an input is right because the one before it, of its dtype and shape, was."""
        if type(x) is not np.ndarray or (x.dtype, x.shape) != self._known:
            return False
        return bool(x.dtype.kind == "f" or 0 <= x.item() < (self.input_size or 0))

    def _remember(self, x: Any, moved: Array) -> None:
        """Remember an input that was found right, for `_is_known`."""
        if type(x) is type(moved) is np.ndarray and (
            x.dtype == moved.dtype if x.dtype.kind == "f" else x.size == 1 and x.dtype.kind == "i"
        ):
            object.__setattr__(self, "_known", (x.dtype, x.shape))

    def swap_time_axis(self, array: Array, is_ids: bool = False) -> Array:
        """Exchange the first two axes of a batch if the network is batch first; no values move."""
        if not self.network.batch_first or array.ndim < 3 - is_ids:
            return array
        return self.placement.backend.xp.permute_dims(array, (1, 0) if is_ids else (1, 0, 2))

    def require_readout(self, method: str) -> Linear:
        """Return the readout, which a method needs."""
        if self.network.readout is None:
            msg = f"{method} needs a readout, and this model has none; make it with RNN(layers, readout=Linear(...))."
            raise ArgumentError(msg)
        return self.network.readout

    def require_softmax(self) -> None:
        """Check that the cross-entropy is the loss of the readout."""
        readout = self.require_readout("loss")
        if getattr(readout.activation, "name", None) not in {"softmax", "log_softmax"}:
            msg = (
                f"loss is the cross-entropy of a softmax readout; g2 of this one is {readout.activation!r}. If it was "
                "trained as a softmax, load it with readout_activation='softmax', or give its Linear that activation."
            )
            raise ArgumentError(msg)

    def summary(self) -> str:
        """Return the sizes and the place of the network in one line, without its numbers."""
        layers, readout = self.network.layers, self.network.readout
        sides = {"+".join(side for side in ("forward", "backward") if getattr(layer, side)) for layer in layers}
        parts = {
            "input_size": self.input_size,
            "hidden_size": self.hidden_size,
            "num_layers": len(layers),
            "directions": ", ".join(sorted(sides)),
            "activation": ", ".join(dict.fromkeys(_name(getattr(cell, "activation", cell)) for cell in self.cells)),
            "output_size": readout and readout.output_size,
            "num_parameters": self.num_parameters,
            "dtype": self.dtype,
            "backend": self.placement.backend.name,
            "device": self.placement.device,
        }
        return ", ".join(f"{name}={value}" for name, value in parts.items() if value is not None)

    def __repr__(self) -> str:
        return f"Placed({self.summary()})"

    def __reduce__(self) -> tuple[Callable[..., "Placed"], tuple[Network, str, str]]:
        return _unpickled, (self.on_host(), f"{self.placement.backend.name}:{self.placement.device}", self.dtype)


def place(network: Network, placement: Placement, dtype: Any = None) -> Placed:
    """Return a network on a device and in a dtype, its own where that is None."""
    return Placed(move(network, placement, dtype), placement)


def _unpickled(network: Network, name: str, dtype: str) -> Placed:
    return place(network, parse(name, "a pickle"), dtype)


def _name(activation: Any) -> str:
    return str(getattr(activation, "name", getattr(activation, "__name__", type(activation).__name__)))
