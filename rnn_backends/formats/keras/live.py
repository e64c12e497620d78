"""Layers and models of a running Keras: their configurations and weights; Keras is not imported."""

import sys
from collections.abc import Mapping
from typing import Any

from rnn_backends.core.messages import got, short, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.arrays import ToHost, declare
from rnn_backends.formats.keras.layers import Dialect, folders
from rnn_backends.formats.keras.version import version_of
from rnn_backends.formats.made import Made


def described(source: Any) -> tuple[Mapping[str, Any], Dialect]:
    """Return the configuration of a layer or a model, as a file would hold it, and the version of its Keras."""
    owner = type(source)
    root = owner.__module__.partition(".")[0]
    config = getattr(source, "get_config", None)
    if not callable(config) or not callable(getattr(source, "get_weights", None)):
        msg = f"expected a layer or a model of Keras, or the path of a file of one; got {got(source)}."
        raise FormatError(msg)
    # A subclass may compute something else, which its configuration need not record.
    is_within = owner.__module__.startswith("tensorflow.python.keras.")
    if root not in {"keras", "tf_keras"} and not is_within:
        bare = shown(f"{owner.__module__}.{owner.__qualname__}").strip("'")
        msg = f"{bare} is not Keras's own; {way('keras_sequential')}."
        raise FormatError(msg)
    version = 2 if is_within else version_of(getattr(sys.modules.get(root), "__version__", None))
    try:
        held = config()
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:  # of functions that have no name
        msg = f"Keras has no configuration of this {got(source)}: {short(error)}."
        raise FormatError(msg) from error
    return {"module": owner.__module__, "class_name": owner.__name__, "config": held}, Dialect(version, version == 2)


class LiveWeights:
    """The arrays of a layer or a model, by the paths that they would have in a file."""

    def __init__(self, source: Any, to_host: ToHost) -> None:
        self.source, self.to_host, self.arrays = source, to_host, dict[str, list[Any]]()

    def count(self, path: str) -> int:
        """Return how many arrays a layer has of its own."""
        return len(self._own(path))

    def declared(self, path: str) -> tuple[str, tuple[int, ...]]:
        """Return the dtype and the shape of an array."""
        return declare({path: self._array(path)})[path]

    def made(self, path: str) -> Made:
        """Return an array, which is read when it is asked for."""
        return Made(*self.declared(path), lambda: self.to_host(self._array(path)))

    def _array(self, path: str) -> Any:
        folder, _, number = path.rpartition("/vars/")
        return self._own(folder)[int(number)]

    def _own(self, path: str) -> list[Any]:
        if path not in self.arrays:
            layer = self.source
            for name in filter(None, path.split("/")):
                layer = layer[name] if isinstance(layer, Mapping) else _child(layer, name)
            self.arrays[path] = layer.get_weights()
        return self.arrays[path]


def _child(layer: Any, name: str) -> Any:
    """Return a layer that another holds, or those that it holds by the names that they have in a file."""
    found = getattr(layer, name)
    if not isinstance(found, (list, tuple)):
        return found
    kinds = [{"class_name": type(each).__name__} for each in found]
    return {folder.removeprefix("/"): each for folder, each in zip(folders("", kinds), found, strict=True)}
