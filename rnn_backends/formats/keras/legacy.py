"""Files of Keras 2's own layout: a group for each layer of the model, whose attribute lists its arrays in order.

Whole models of Keras 3 in .h5 files have it too.  A layer that is a model lists the arrays of all its layers, first
those that are trained, then the others.
"""

import re
from collections.abc import Mapping, Sequence
from sys import getsizeof

from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.keras.affine import KINDS as AFFINE
from rnn_backends.formats.keras.affine import names as names_of_affine
from rnn_backends.formats.keras.arrays import Arrays
from rnn_backends.formats.keras.attributes import names
from rnn_backends.formats.keras.layers import INERT, RECURRENT, Part
from rnn_backends.formats.keras.recurrent import recurrent
from rnn_backends.formats.made import Made

CELL = ("kernel", "recurrent_kernel", "bias")
_NOT_TRAINED = {"moving_mean", "moving_variance", "mean", "variance", "count"}


OLDER = "_layer_checkpoint_dependencies"
"""The group of the layers in files of Keras 2 before 2.15, where it is not ``layers``."""
_COPIES = 3
"""How many times the path of an array is held, in whole or in parts."""
_IN_LAYERS = re.compile(r"(?<![^/])layers/([a-z_]+?)(?:_([0-9]+))?(?=/)")


class Older:
    """The arrays of a .keras file of Keras 2 before 2.15, by the paths that they would have in a later one.

    There a layer with weights counts twice: a second one of a class is ``dense_2``.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    def count(self, path: str) -> int:
        """Return how many arrays a layer has of its own."""
        return self.arrays.count(_older(path))

    def declared(self, path: str) -> tuple[str, tuple[int, ...]]:
        """Return the dtype and the shape that an array is read in."""
        return self.arrays.declared(_older(path))

    def made(self, path: str) -> Made:
        """Return an array, which is read when it is asked for."""
        return self.arrays.made(_older(path))


def _older(path: str) -> str:
    def renamed(match: re.Match[str]) -> str:
        number = 2 * int(match[2] or 0)
        return f"{OLDER}/{match[1]}_{number}" if number else f"{OLDER}/{match[1]}"

    return _IN_LAYERS.sub(renamed, f"{path}/").removesuffix("/")


class Renamed:
    """The arrays of a file by the paths that they would have in a .keras file.

    Parameters
    ----------
    arrays : Arrays
    places : mapping of str to list of str
        The places of the arrays of a layer, by its path.
    """

    def __init__(self, arrays: Arrays, places: Mapping[str, list[str]]) -> None:
        self.arrays, self.places = arrays, places

    def count(self, path: str) -> int:
        """Return how many arrays a layer has of its own."""
        return len(self.places.get(path, ()))

    def declared(self, path: str) -> tuple[str, tuple[int, ...]]:
        """Return the dtype and the shape that an array is read in."""
        return self.arrays.declared(self._place(path))

    def made(self, path: str) -> Made:
        """Return an array, which is read when it is asked for."""
        return self.arrays.made(self._place(path))

    def _place(self, path: str) -> str:
        folder, _, number = path.rpartition("/vars/")
        return self.places[folder][int(number)]


def of_model(arrays: Arrays, root: str, parts: Sequence[Part]) -> Renamed:
    """Return the arrays of a whole model, given all its layers, from its input to its output.

    A layer must have the arrays that its options say, in their order and by their names.
    """
    held = dict(layers(arrays, root))
    places: dict[str, list[str]] = {}
    wanted: dict[str, list[tuple[str, str, bool]]] = {top: [] for top in held}
    for part in parts:
        if part.kind not in INERT:
            wanted.setdefault(part.top, []).extend(_slots(part))
    for top, slots in wanted.items():
        ordered = sorted(slots, key=lambda slot: not slot[2])  # which keeps the order of those that are trained
        found, own = held.get(top, []), [name for _, name, _ in ordered]
        if [last(path) for path in found] != own:
            msg = f"the layer {shown(top)} must have the arrays {listed(own)}; it has {listed(map(last, found))}."
            raise FormatError(msg)
        for (path, _, _), place in zip(ordered, found, strict=True):
            places.setdefault(path, []).append(place)
    return Renamed(arrays, places)


def layers(arrays: Arrays, root: str) -> list[tuple[str, list[str]]]:
    """Return the names of the layers in their order, each with the paths of its arrays in theirs."""
    file = arrays.file
    held = names(file, root, "layer_names")
    if held is None or len(set(held)) != len(held):
        msg = f"{shown(root)} must list its layers, each once, as Keras 2 writes it."
        raise FormatError(msg)
    found = []
    for name in held:
        group = f"{root}/{name}".removeprefix("/")
        own = names(file, group, "weight_names")
        if own is None:
            msg = f"the layer {shown(name)} must list its arrays, as Keras 2 writes it."
            raise FormatError(msg)
        paths = [f"{group}/{each}" for each in own]
        file.source.account.take("the names in it", "bytes", _COPIES * sum(map(getsizeof, paths)))
        found.append((name, paths))
    return found


def last(path: str) -> str:
    """Return what an array is to its layer, such as kernel: the end of its path, without the number of the output."""
    return path.rpartition("/")[2].partition(":")[0]


def _slots(part: Part) -> list[tuple[str, str, bool]]:
    """Return the arrays of a layer in their order: the path of the layer, the name, and whether it is trained."""
    is_trained = part.config.get("trainable") is not False
    if part.kind == "TimeDistributed":
        return [(path, name, trained and is_trained) for path, name, trained in _slots(part.inner("layer", "layer"))]
    if part.kind in RECURRENT:
        found = recurrent(part)
        cells = [*found.forward, *found.backward]
        return [(cell.path, name, is_trained) for cell in cells for name in CELL[: 2 + cell.biased]]
    own: list[str] = []
    if part.kind in AFFINE:
        own = names_of_affine(part)
    elif part.kind == "Dense":
        own = ["kernel", "bias"][: 1 + part.flag("use_bias")]
    elif part.kind == "Embedding":
        own = ["embeddings"]
    return [(part.path, name, is_trained and name not in _NOT_TRAINED) for name in own]
