"""`PlacedNetwork`: a network on a backend and device; what it takes, and how to look at it, move it and save it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from math import prod
from os import PathLike
from typing import Any, Self

import numpy as np

from rnn_backends.backends.backend import Backend
from rnn_backends.backends.selection import Placement, parse
from rnn_backends.backends.transfer import as_host, move, receive
from rnn_backends.core import checks
from rnn_backends.core.arrays import Array, Host, dtype_name, is_integer
from rnn_backends.core.layers import Layer, Linear, Network, named_arrays
from rnn_backends.core.recurrence import Recurrence, scan_layer
from rnn_backends.errors import ArgumentError
from rnn_backends.model.vocabulary import encode


class PlacedNetwork:
    """A network on one backend and device; immutable."""

    _network: Network
    _placement: Placement
    _dtype: str
    _place_object: Any
    """The library's own object for the device."""
    _recurrence: Recurrence
    _tokens: int
    _known: tuple[Any, ...] = ()
    """Dtype and shape of the NumPy array that was checked last, if such arrays need not be converted."""

    def _place(self, network: Network, place: Placement, dtype: str | None = None) -> None:
        self._placement = place
        self._network = move(network, place, dtype)
        self._dtype = next((dtype_name(array) for _, array in named_arrays(self._network)), "float32")
        self._place_object = place.backend.device(place.device)
        self._recurrence = place.backend.recurrence or scan_layer
        self._tokens = getattr(self.layers[0].cells[0][0], "input_size", 0)

    @classmethod
    def _placed(cls, network: Network, place: Placement, dtype: str | None = None) -> Self:
        model = cls.__new__(cls)
        model._place(network, place, dtype)
        return model

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, from the input to the output."""
        return self._network.layers

    @property
    def readout(self) -> Linear | None:
        """The readout, if there is one."""
        return self._network.readout

    @property
    def batch_first(self) -> bool:
        """Whether inputs and outputs have the axes (batch, seq_len, ...)."""
        return self._network.batch_first

    @property
    def vocabulary(self) -> str | None:
        """The characters by token id, for a network over characters."""
        return self._network.vocabulary

    @property
    def metadata(self) -> Mapping[str, str]:
        """Notes that are kept with the weights."""
        return dict(self._network.metadata)

    @property
    def backend(self) -> Backend:
        """The backend that the model is on."""
        return self._placement.backend

    @property
    def device(self) -> str:
        """The name of the device that the model is on, e.g. ``"cpu"`` or ``"cuda:0"``."""
        return self._placement.device

    @property
    def dtype(self) -> str:
        """The name of the dtype of the parameters and of all results, e.g. ``"float32"``."""
        return self._dtype

    def to(self, backend: str | None = None, dtype: str | None = None) -> Self:
        """Return the model on another backend or device, or in another dtype; this one stays as it is.

        Parameters
        ----------
        backend : str, optional
            ``"name"`` or ``"name:device"``; left out, the model's own.
        dtype : {"float32", "float64", "float16", "bfloat16"}, optional
            Left out, the model's own.

        Raises
        ------
        RNNBackendError
            The backend cannot run here, or has not the device or the dtype.
        """
        place = self._placement if backend is None else parse(backend, "argument backend=")
        return self._placed(self._network, place, dtype)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a file, ``.safetensors``, ``.npz`` or ``.onnx``, which `rnn_backends.load` reads.

        Raises
        ------
        FormatError
            The suffix is another, or the model holds what a file cannot: a function of the user's; in ONNX, a leak.
        OSError
            The file cannot be written; one that was there before is left as it was.
        """
        from rnn_backends import formats  # most programs write no file

        formats.write(self._on_host(), path)

    def to_torch(self) -> dict[str, Host]:
        """Return the weights as a state dict of NumPy arrays, for ``torch.nn.RNN``.

        The names are those of an ``nn.RNN``; with a readout, those of a module that holds an ``nn.RNN`` as
        ``rnn`` and an ``nn.Linear`` as ``readout``.  ``bias_ih`` is the bias and ``bias_hh`` zeros; where some
        cells have a bias, the others' are zeros.  As with any state dict, the module is to be made with the
        right sizes, ``nonlinearity`` and ``batch_first``, and does not apply the readout's activation.

        Returns
        -------
        dict of str to numpy.ndarray
            Copies, in the model's dtype, bfloat16 as float32.

        Raises
        ------
        FormatError
            ``nn.RNN`` cannot compute what the network does: clip, leak, a cell of one's own, activations
            other than tanh or relu or more than one of them, layers that run in reverse only or differ
            in their directions.
        """
        from rnn_backends.formats.torch.state_dict import state_dict  # most programs do not need it

        return state_dict(self._on_host())

    def _on_host(self) -> Network:
        return move(self._network, parse("numpy", "the default"), "float32" if self.dtype == "bfloat16" else None)

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[Network, str, str]]:
        return self._rebuilt, (self._on_host(), f"{self.backend.name}:{self.device}", self.dtype)

    @classmethod
    def _rebuilt(cls, network: Network, place: str, dtype: str) -> Self:
        return cls._placed(network, parse(place, "a pickle"), dtype)

    def __repr__(self) -> str:
        cells = [cell for layer in self.layers for cell, _ in layer.cells]
        sides = {"+".join(side for side in ("forward", "backward") if getattr(layer, side)) for layer in self.layers}
        parts = {
            "input_size": getattr(cells[0], "input_size", None),
            "hidden_size": getattr(cells[0], "hidden_size", None),
            "num_layers": len(self.layers),
            "directions": ", ".join(sorted(sides)),
            "activation": ", ".join(dict.fromkeys(_name(getattr(cell, "activation", cell)) for cell in cells)),
            "output_size": self.readout and self.readout.output_size,
            "parameters": sum(prod(array.shape) for _, array in named_arrays(self._network)),
            "dtype": self.dtype,
            "backend": self.backend.name,
            "device": self.device,
        }
        return f"RNN({', '.join(f'{name}={value}' for name, value in parts.items() if value is not None)})"

    def _on_device(self) -> AbstractContextManager[Any]:
        return self.backend.on(self._place_object)

    def _host(self, name: str, value: Any) -> Any:
        """Return an argument as `as_host` does, text as token ids, and None as it is."""
        if isinstance(value, str) and name in {"x", "targets"}:
            return encode(value, self.vocabulary)
        return None if value is None and name != "x" else as_host(name, value)

    def _receive(self, x: Any, h_0: Any = None, lengths: Any = None, mask: Any = None) -> tuple[Any, ...]:
        """Move the arguments of a call to the device, check them and bring them to (seq_len, batch, ...)."""
        if h_0 is None and lengths is None and mask is None and self._is_known(x):
            return self._swap(x, x.dtype.kind != "f"), None, None, None
        given = {"x": x, "h_0": h_0, "lengths": lengths, "mask": mask}
        host = {name: self._host(name, value) for name, value in given.items()}
        moved = {
            name: None if value is None else receive(name, value, self._placement, self.dtype)
            for name, value in host.items()
        }
        checks.require_call(self.layers, **moved, batch_first=self.batch_first)
        checks.require_values(self.layers, host["x"], host["lengths"], host["mask"], self.batch_first)
        self._remember(x, moved["x"])
        mask = None if mask is None else self._swap(moved["mask"], is_ids=True)
        return self._swap(moved["x"], is_integer(moved["x"])), moved["h_0"], moved["lengths"], mask

    def _is_known(self, x: Any) -> bool:
        """Tell whether an input is right because the one before it, of its dtype and shape, was."""
        if type(x) is not np.ndarray or (x.dtype, x.shape) != self._known:
            return False
        return bool(x.dtype.kind == "f" or 0 <= x.item() < self._tokens)

    def _remember(self, x: Any, moved: Array) -> None:
        """Remember an input that was found right, for `_is_known`."""
        if type(x) is type(moved) is np.ndarray and (
            x.dtype == moved.dtype if x.dtype.kind == "f" else x.size == 1 and x.dtype.kind == "i"
        ):
            self._known = (x.dtype, x.shape)

    def _require_readout(self, method: str) -> Linear:
        if self.readout is None:
            msg = f"{method} needs a readout, and this model has none; make it with RNN(layers, readout=Linear(...))."
            raise ArgumentError(msg)
        return self.readout

    def _require_softmax(self) -> None:
        readout = self._require_readout("loss")
        if getattr(readout.activation, "name", None) not in {"softmax", "log_softmax"}:
            msg = (
                f"loss is the cross-entropy of a softmax readout; g2 of this one is {readout.activation!r}. If it was "
                "trained as a softmax, load it with readout_activation='softmax', or give its Linear that activation."
            )
            raise ArgumentError(msg)

    def _swap(self, array: Array, is_ids: bool = False) -> Array:
        """Exchange the first two axes of a batch if the model is batch first; no values move."""
        if not self.batch_first or array.ndim < 3 - is_ids:
            return array
        return self.backend.xp.permute_dims(array, (1, 0) if is_ids else (1, 0, 2))


def _name(activation: Any) -> str:
    return str(getattr(activation, "name", getattr(activation, "__name__", type(activation).__name__)))
