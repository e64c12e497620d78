"""`Replaceable`: a model with some of its parts replaced."""

from dataclasses import fields, replace
from typing import Any, Self

from rnn_backends.backends.selection import owner_of, require_device, require_owned, require_owner
from rnn_backends.core.arrays import Array, is_integer
from rnn_backends.core.layers import as_layers, named_arrays
from rnn_backends.core.messages import listed, shown
from rnn_backends.core.network import Network
from rnn_backends.core.parameters import map_arrays, require_unmasked
from rnn_backends.errors import ArgumentError
from rnn_backends.model.many import Many
from rnn_backends.model.model import part_of_rnn


@part_of_rnn
class Replaceable(Many):
    """The part of `RNN` that makes another of it."""

    def replace(self, **parts: Any) -> Self:
        """Return the model with some of its parts replaced; this one stays as it is.

        ``copy.replace(rnn, **parts)`` of Python 3.13 does the same.

        Parameters
        ----------
        parts
            Arguments of `RNN` by name: ``layers``, ``readout``, ``encoder``, ``reads``, ``takes``, ``h_0``,
            ``batch_first``, ``vocabulary``, ``unknown``, ``noise``, ``metadata``.  None takes away a part that is
            optional.  Arrays of NumPy are moved to the model's device and converted to its dtype.

        Returns
        -------
        RNN
            On the same backend and device, in the same dtype; it shares the arrays of the parts that stay.

        Raises
        ------
        ArgumentError, ShapeError, DTypeError
            A name is not that of a part, or the parts do not make a network.
        BackendMismatchError, DeviceError
            An array belongs to another library or device, from which nothing is moved implicitly.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> rnn = rb.RNN.init(3, 4, output_size=5)
        >>> rnn.replace(readout=rb.Linear(np.ones((2, 4))), reads="last").logits(np.ones((6, 3))).shape
        (2,)
        >>> rnn.replace(readout=None).readout is None
        True
        """
        known = [entry.name for entry in fields(Network)]
        for name in parts:
            if name not in known:
                from rnn_backends.core.near import did_you_mean  # where a message needs it

                msg = f"an RNN has no part {shown(name)} to replace; it has {listed(known)}.{did_you_mean(name, known)}"
                raise ArgumentError(msg)
        placed, network = self._placed, self._placed.network
        held = {id(array) for _, array in named_arrays(network)}

        def owned(array: Array) -> Array:
            """Return an array on the model's device, one of NumPy in the model's dtype and in memory of its own."""
            if id(array) in held:
                return array
            require_unmasked(name, array)
            place, owner = placed.placement, owner_of(array)
            if owner is not None and owner.name == "numpy":
                return place.backend.from_host(array, "int32" if is_integer(array) else placed.dtype, place.device)
            require_owner(name, array, require_owned(name, array), place)
            require_device(name, array, place)
            return array

        made = {}
        for name, value in parts.items():
            part = as_layers(value) if name == "layers" else tuple(value) if isinstance(value, list) else value
            made[name] = map_arrays(owned, part)
        if made.get("metadata", ()) is None:
            made["metadata"] = {}
        return self.from_network(replace(network, **made), placed.placement)

    def __replace__(self, /, **parts: Any) -> Self:
        """Return ``self.replace(**parts)``, for `copy.replace`."""
        return self.replace(**parts)
