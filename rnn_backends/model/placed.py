"""`Placed`: a network on a device of a backend, and how the arguments of a call come there."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from rnn_backends.backends.selection import Placement, parse
from rnn_backends.backends.transfer import as_host, move, receive, spec_on_device
from rnn_backends.core import checks
from rnn_backends.core.arrays import Array, Host, dtype_name, is_integer, quiet
from rnn_backends.core.forward import encoded, propagate, started
from rnn_backends.core.layers import RecurrentCell, named_arrays, num_parameters
from rnn_backends.core.linear import Linear, logits_of
from rnn_backends.core.network import READS, Network, hidden_sizes, is_one_each
from rnn_backends.core.parameters import require_choice
from rnn_backends.core.recurrence import Recurrence, scan_layer
from rnn_backends.errors import ArgumentError
from rnn_backends.model.draws import drawn_there
from rnn_backends.model.padding import pad
from rnn_backends.model.prepared import Call, can_prepare, linear_products, prepare
from rnn_backends.model.summary import summary
from rnn_backends.model.vocabulary import Vocabulary, are_texts, require_vocabulary

CALLS = 8
"""The number of dtypes and shapes whose calls are kept."""
HELD = 2**20
"""The bytes of initial states that are kept with a call; larger ones take no time beside the call itself."""


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
    _calls: dict[tuple[Any, ...], Call] = field(default_factory=dict, init=False)
    """The calls that were prepared last, by dtype and shape of the input; replaced as a whole."""

    @cached_property
    def dtype(self) -> str:
        """The name of the dtype of the parameters and of all results."""
        held = (array for _, array in named_arrays(self.network) if not is_integer(array))
        return next(map(dtype_name, held), "float32")

    @cached_property
    def recurrence(self) -> Recurrence:
        """The backend's walk of a layer through time, or the default one."""
        return self.placement.backend.recurrence or scan_layer

    @cached_property
    def input_size(self) -> int | None:
        """The number of features or token ids; None for a cell of one's own that does not state it."""
        return self.network.input_size

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The characters or words by token id, if the network has such."""
        items = self.network.vocabulary
        return None if items is None else Vocabulary(items, self.network.unknown)

    @cached_property
    def widths(self) -> tuple[int, int]:
        """The number of features that encoder and layers make of a step, and that of all outputs of the readout."""
        network = self.network
        made = [linear.output_size for linear in network.encoder] + hidden_sizes(network.layers)
        return sum(size or 0 for size in made), sum(linear.output_size for linear in network.readout)

    @cached_property
    def has_backward(self) -> bool:
        """Whether a cell walks from the last step to the first, and so needs whole sequences."""
        return any(layer.backward is not None for layer in self.network.layers)

    @cached_property
    def hidden_size(self) -> int | None:
        """The size of every cell's state; None where cells differ or do not state it."""
        sizes = {getattr(cell, "hidden_size", None) for cell in self.cells}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def cells(self) -> list[RecurrentCell]:
        """The cells, layer by layer, forward before backward."""
        return [cell for layer in self.network.layers for cell, _ in layer.cells]

    @cached_property
    def num_parameters(self) -> int:
        """The number of elements of all parameters, of a sparse matrix that of its entries."""
        return num_parameters(self.network)

    @cached_property
    def _device(self) -> Any:
        """The library's own object for the device."""
        return self.placement.backend.device(self.placement.device)

    def on_device(self) -> AbstractContextManager[Any]:
        """Return a context in which the library makes arrays on the device, and NumPy does not warn of inf."""
        on = self.placement.backend.on
        return quiet() if on is nullcontext else on(self._device)

    def on_host(self) -> Network:
        """Return the network on NumPy, bfloat16 as float32."""
        return move(self.network, parse("numpy", "the default"), "float32" if self.dtype == "bfloat16" else None)

    def with_texts(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call, several texts in x as a batch of token ids with their lengths."""
        if not are_texts(given["x"]):
            return given
        if given["lengths"] is not None:
            msg = "`lengths` follow from the texts in `x`; leave it out."
            raise ArgumentError(msg)
        x, lengths = self._padded(given["x"])
        return given | {"x": x, "lengths": lengths}

    def _padded(self, texts: Sequence[str]) -> tuple[Host, Host]:
        """Return the token ids of several texts as one batch, and their lengths."""
        encode = require_vocabulary(self.vocabulary).encode
        return pad([encode(text) for text in texts], self.network.batch_first)

    def as_host(self, name: str, value: Any) -> Any:
        """Return an argument as `transfer.as_host` does, text as token ids, and None as it is."""
        if isinstance(value, str) and name in {"x", "targets"}:
            return require_vocabulary(self.vocabulary).encode(value)
        if name == "targets" and are_texts(value):
            return self._padded(value)[0]
        if name == "h_0" and is_one_each(self.network.layers, value):
            return tuple(as_host(name, part) for part in value)
        if value is None and name != "x":
            return None
        host = as_host(name, value, batch_first=self.network.batch_first)
        if name == "x" and self.network.takes == "tokens" and isinstance(host, np.ndarray) and not host.size:
            return host.astype(np.int32) if host.ndim < 3 else host  # of no numbers, whose dtype says nothing
        return host

    def to_device(self, name: str, value: Any) -> Any:
        """Return an argument that `as_host` returned on the device; None as it is."""
        if isinstance(value, tuple):
            return tuple(self.to_device(name, part) for part in value)
        if value is None:
            return None
        return receive(name, value, self.placement, self.dtype, is_features=self._is_features(name))

    def spec(self, name: str, value: Any) -> Any:
        """Return the shape and dtype that an argument will have on the device; None as it is."""
        if value is None:
            return None
        return spec_on_device(name, value, self.placement, self.dtype, is_features=self._is_features(name))

    def _is_features(self, name: str) -> bool:
        return name == "x" and self.network.takes == "features"

    def receive(self, x: Any, h_0: Any = None, lengths: Any = None, mask: Any = None) -> tuple[Any, ...]:
        """Move the arguments of a call to the device, check them and bring them to (seq_len, batch, ...)."""
        given = self.with_texts({"x": x, "h_0": h_0, "lengths": lengths, "mask": mask})
        host = {name: self.as_host(name, value) for name, value in given.items()}
        moved = {name: self.to_device(name, value) for name, value in host.items()}
        checks.require_call(self.network, **moved)
        checks.require_values(self.network, host["x"], host["lengths"], host["mask"])
        mask = None if mask is None else self.swap_time_axis(moved["mask"], is_ids=True)
        return self.swap_time_axis(moved["x"], is_integer(moved["x"])), moved["h_0"], moved["lengths"], mask

    def run(self, x: Array, h_0: Any, lengths: Array | None, mask: Array | None, start: int = 0) -> tuple[Array, Any]:
        """Run the network over arguments that `receive` returned; see `rnn_backends.core.forward.propagate`.

        `start` is the place of the first step in the whole sequences.
        """
        network = self.network
        noise = self.noise(start, x)
        if network.encoder or network.h_0 is not None:
            h_0, x = started(network, x, h_0), encoded(network, x, lengths, mask)
        return propagate(network.layers, x, h_0, lengths, self.recurrence, mask, noise)

    def noise(self, start: int, x: Array, cells: slice = slice(None)) -> list[Array] | None:
        """Return what is added to the sums of each of some cells at the steps of an input, time first, from `start` on.

        As arrays (seq_len, batch, hidden_size) of the dtype that is computed in, a single sequence as a batch of one.
        """
        if self.network.noise is None:
            return None
        return drawn_there(self.network, self.placement, self.dtype, start, x, cells)

    def prepared(self, x: Any, h_0: Any = None, lengths: Any = None, mask: Any = None) -> Call | None:
        """Return the call for an input alone that is right, if it and the network are NumPy's.

        None leaves it to `receive` and `run`, which take all that there is, and refuse what is wrong.
        """
        if h_0 is not None or lengths is not None or mask is not None or type(x) is not np.ndarray:
            return None
        if self.network.noise is not None:
            return None
        call = self._calls.get((x.dtype, x.shape))
        if call is None:
            return self._prepare(x) if self.is_plain and x.size and x.dtype.kind in "iuf" else None
        return call if call.num_ids is None or call.is_right(x) else None

    def _prepare(self, x: Host) -> Call:
        """Check an input, and make the call for those like it."""
        spec = self.spec("x", x)
        checks.require_call(self.network, spec, None, None)
        checks.require_values(self.network, x, None)
        num_ids = self.input_size if x.dtype.kind != "f" and self.network.takes != "features" else None
        call = prepare(self.network, self.recurrence, x, np.dtype(spec.dtype), num_ids, self.widths)
        if call.held <= HELD:
            kept = [*self._calls.items()][-CALLS + 1 :]
            object.__setattr__(self, "_calls", {**dict(kept), (x.dtype, x.shape): call})
        return call

    @cached_property
    def is_plain(self) -> bool:
        """Whether all arrays are NumPy's own, and calls can be prepared."""
        backend = self.placement.backend
        return backend.xp is np and backend.on is nullcontext and can_prepare(self.network)

    @cached_property
    def logits(self) -> Callable[[Array], Array]:
        """The function of states that the readout is, up to its last activation."""
        readout = self.network.readout
        return linear_products(readout) if self.is_plain else partial(logits_of, readout)

    def swap_time_axis(self, array: Array, is_ids: bool = False) -> Array:
        """Exchange the first two axes of a batch if the network is batch first; no values move."""
        if not self.network.batch_first or array.ndim < 3 - is_ids:
            return array
        return self.placement.backend.xp.permute_dims(array, (1, 0) if is_ids else (1, 0, 2))

    def require_readout(self, method: str) -> tuple[Linear, ...]:
        """Return the readout, which a method needs."""
        if not self.network.readout:
            msg = f"{method} needs a readout, and this model has none; make it with RNN(layers, readout=Linear(...))."
            raise ArgumentError(msg)
        return self.network.readout

    def require_reads(self, reads: str | None) -> str:
        """Return what the readout is to read: what a call says, else what the network does."""
        if reads is not None:
            require_choice("reads", reads, READS)
        return reads or self.network.reads

    def summary(self) -> str:
        """Return the sizes and the place of the network in one line, without its numbers."""
        place = {"backend": self.placement.backend.name, "device": self.placement.device}
        return summary(self.network, {"num_parameters": self.num_parameters, "dtype": self.dtype, **place})

    def __repr__(self) -> str:
        return f"Placed({self.summary()})"

    def __reduce__(self) -> tuple[Callable[..., "Placed"], tuple[Network, str, str]]:
        return _unpickled, (self.on_host(), f"{self.placement.backend.name}:{self.placement.device}", self.dtype)


def place(network: Network, placement: Placement, dtype: Any = None) -> Placed:
    """Return a network on a device and in a dtype, its own where that is None."""
    return Placed(move(network, placement, dtype), placement)


def _unpickled(network: Network, name: str, dtype: str) -> Placed:
    return place(network, parse(name, "a pickle"), dtype)
