"""`Model`: a network with its sizes and its place, moved between backends and written to files."""

from collections.abc import Mapping
from os import PathLike
from types import FunctionType
from typing import Any, Self, TypeVar

from rnn_backends.backends.backend import Backend
from rnn_backends.backends.selection import Placement, parse
from rnn_backends.core.arrays import Host
from rnn_backends.core.layers import Layer
from rnn_backends.core.linear import Linear
from rnn_backends.core.network import Network
from rnn_backends.core.noise import Noise
from rnn_backends.model.placed import Placed, place

Part = TypeVar("Part")


def part_of_rnn(part: type[Part]) -> type[Part]:
    """Name the methods of a class after `RNN`, as the users of an RNN see them in a TypeError about an argument."""
    for name, member in vars(part).items():
        method = getattr(member, "__func__", member)
        if isinstance(method, FunctionType):
            method.__module__, method.__qualname__ = "rnn_backends.model.rnn", f"RNN.{name}"
    return part


@part_of_rnn
class Model:
    """The part of `RNN` that computes nothing: layers, sizes, backend and dtype, and their moves."""

    _placed: Placed

    @classmethod
    def from_network(cls, network: Network, placement: Placement, dtype: Any = None) -> Self:
        """Return the model of a network: the way in for readers of files.

        Parameters
        ----------
        network : rnn_backends.core.network.Network
        placement : rnn_backends.backends.selection.Placement
            Its backend and device.
        dtype : str or dtype, optional
            As for `to`; the network's own by default.

        Returns
        -------
        RNN

        Examples
        --------
        >>> import rnn_backends as rb
        >>> placed = rb.RNN.init(3, 4).placed
        >>> rb.RNN.from_network(placed.network, placed.placement, "float64").dtype
        'float64'
        """
        model: Self = cls.__new__(cls)
        object.__setattr__(model, "_placed", place(network, placement, dtype))
        return model

    @property
    def placed(self) -> Placed:
        """The network on its device, as the other parts of this package take it."""
        return self._placed

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, from the input to the output."""
        return self._placed.network.layers

    @property
    def readout(self) -> Any:
        """The readout: a Linear, a tuple of them, or None."""
        return _as_given(self._placed.network.readout)

    @property
    def encoder(self) -> Any:
        """The encoder of each step before the first layer: a Linear, a tuple of them, or None."""
        return _as_given(self._placed.network.encoder)

    @property
    def reads(self) -> str:
        """What the readout reads: ``"steps"``, ``"last"``, ``"final"``, ``"mean"`` or ``"max"``."""
        return self._placed.network.reads

    @property
    def takes(self) -> str | None:
        """What the input is, ``"tokens"`` or ``"features"``; None where nobody said."""
        return self._placed.network.takes

    @property
    def h_0(self) -> Any:
        """The states before the first step where a call gives none, (num_cells, hidden_size); None for zeros.

        Of cells of several sizes, a tuple of one array (hidden_size,) for each.
        """
        return self._placed.network.h_0

    @property
    def noise(self) -> Noise | None:
        """What is added to the sums of all cells; None where nothing is."""
        return self._placed.network.noise

    @property
    def batch_first(self) -> bool:
        """Whether inputs and outputs have the axes (batch, seq_len, ...)."""
        return self._placed.network.batch_first

    @property
    def vocabulary(self) -> str | tuple[str, ...] | None:
        """The characters, or the words, by token id, for a network over such."""
        return self._placed.network.vocabulary

    @property
    def unknown(self) -> str | None:
        """The item of the vocabulary that stands for what is not in it, if there is one."""
        return self._placed.network.unknown

    @property
    def metadata(self) -> Mapping[str, str]:
        """The notes kept with the weights, which cannot be changed."""
        return self._placed.network.metadata

    @property
    def backend(self) -> Backend:
        """The backend of the model."""
        return self._placed.placement.backend

    @property
    def device(self) -> str:
        """The name of the model's device, e.g. ``"cpu"`` or ``"cuda:0"``."""
        return self._placed.placement.device

    @property
    def dtype(self) -> str:
        """The name of the dtype of the parameters and of all results, e.g. ``"float32"``."""
        return self._placed.dtype

    @property
    def input_size(self) -> int | None:
        """The number of features or token ids; None for a cell of one's own that does not state it."""
        return self._placed.input_size

    @property
    def hidden_size(self) -> int | None:
        """The size of every cell's state; None where cells differ or do not state it."""
        return self._placed.hidden_size

    @property
    def num_layers(self) -> int:
        """The number of layers; a layer that runs in both directions is one."""
        return len(self._placed.network.layers)

    @property
    def num_parameters(self) -> int:
        """The number of elements of all weights and biases, and of initial states and leaks of the model's own."""
        return self._placed.num_parameters

    def to(self, backend: str | None = None, dtype: Any = None) -> Self:
        """Return the model on another backend or device, or in another dtype; this one stays as it is.

        Parameters
        ----------
        backend : str, optional
            ``"name"`` or ``"name:device"``; the model's own by default.
        dtype : str or dtype, optional
            ``"float32"``, ``"float64"``, ``"float16"`` or ``"bfloat16"``, or a dtype of NumPy, CuPy, JAX or torch
            of that name; the model's own by default.

        Returns
        -------
        RNN
            It shares the arrays that need not change.

        Raises
        ------
        RNNBackendError
            The backend cannot run here, or has not the device or the dtype.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rb.RNN.init(3, 4).to("numpy", dtype="float64").dtype
        'float64'
        """
        placement = self._placed.placement if backend is None else parse(backend, "argument backend=")
        return self.from_network(self._placed.network, placement, dtype)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a file, which `rnn_backends.load` reads.

        Parameters
        ----------
        path : path
            With the suffix ``.safetensors``, ``.npz`` or ``.onnx``.

        Raises
        ------
        FormatError
            The suffix is another, or the model holds what a file cannot: a function of the user's; in ONNX, a leak.
        OSError
            The file cannot be written; one that was there before is left as it was.

        Notes
        -----
        The file is written whole or not at all: a new file in the same folder, which must allow that, takes the place
        of an old one when all of it is on the disk.  A full disk, a signal or a crash leaves the old one as it was.

        Examples
        --------
        >>> import tempfile
        >>> import rnn_backends as rb
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rb.RNN.init(3, 4).save(f"{folder}/model.npz")
        ...     print(rb.load(f"{folder}/model.npz").num_parameters)
        32
        """
        from rnn_backends import formats  # most programs write no file

        formats.write(self._placed.on_host(), path)

    def to_torch(self) -> dict[str, Host]:
        """Return the weights as a state dict of NumPy arrays, for ``torch.nn.RNN``.

        The names are those of an ``nn.RNN``; with a readout, those of a module that holds an ``nn.RNN`` as
        ``rnn`` and an ``nn.Linear`` as ``readout``.  ``bias_ih`` is the bias and ``bias_hh`` zeros; where some
        cells have a bias, the others' are zeros.  As with any state dict, the module is to be made with the
        right sizes, ``nonlinearity`` and ``batch_first``, and does not apply the readout's activation.  torch takes
        tensors: ``module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})``.

        Returns
        -------
        dict of str to numpy.ndarray
            Copies, in the model's dtype, bfloat16 as float32.

        Raises
        ------
        FormatError
            ``nn.RNN`` cannot compute what the network does: an encoder, a head of several Linear, initial states of its
            own, cells of several sizes, clip, leak, a cell of one's own, activations
            other than tanh or relu or more than one of them, layers that run in reverse only or differ
            in their directions.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> list(rb.RNN.init(3, 4).to_torch())
        ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
        """
        from rnn_backends.formats.torch.state_dict import state_dict  # most programs do not need it

        return state_dict(self._placed.on_host())


def _as_given(linears: tuple[Linear, ...]) -> Any:
    """Return a readout or an encoder as a user gives it."""
    return linears[0] if len(linears) == 1 else linears or None
