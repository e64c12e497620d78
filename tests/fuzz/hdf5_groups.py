"""The groups of an HDF5 file, of arrays and attributes by their paths."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fuzz.weights import Tensor


class Group(NamedTuple):
    """A group: its members by name, and its attributes, texts or lists of texts."""

    members: Mapping[str, Any]
    attributes: Mapping[str, Any] = {}


def grouped(arrays: Mapping[str, Tensor], attributes: Mapping[str, Mapping[str, Any]]) -> Group:
    """Return the groups of arrays by path, with attributes by path."""
    root: dict[str, Any] = {}
    for path, array in arrays.items():
        held = root
        *folders, name = path.split("/")
        for folder in folders:
            inner = held.setdefault(folder, {})
            held = inner if isinstance(inner, dict) else {}
        held[name] = array
    for path in attributes:
        held = root
        for folder in filter(None, path.split("/")):
            inner = held.setdefault(folder, {})
            held = inner if isinstance(inner, dict) else {}

    def made(held: Mapping[str, Any], path: str) -> Group:
        own = {
            name: made(each, f"{path}/{name}".lstrip("/")) if isinstance(each, dict) else each
            for name, each in held.items()
        }
        return Group(own, attributes.get(path, {}))

    return made(root, "")
