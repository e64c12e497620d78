"""The names of a model's outputs: classes, characters or words."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import listed
from rnn_backends.model.placed import Placed

CLASSES = "classes"
"""The name of the note in a model's metadata that names its classes, with white space between."""


class Names:
    """The names of outputs by id, if there are any.

    Those of the classes in the metadata, or the items of the vocabulary, where there is one for each output.

    Parameters
    ----------
    placed : Placed
        A network.
    """

    def __init__(self, placed: Placed) -> None:
        network = placed.network
        self._count = count = network.readout[-1].output_size if network.readout else 0
        classes = network.metadata.get(CLASSES, "").split()
        self.vocabulary = None
        self.items: Sequence[str] | None = None
        if len(classes) == count:
            self.items = classes
        elif placed.vocabulary is not None and len(placed.vocabulary.items) == count:
            self.vocabulary = placed.vocabulary
            self.items = placed.vocabulary.items

    @property
    def unit(self) -> str:
        """The name of a predicted thing."""
        if self.vocabulary is not None:
            return self.vocabulary.unit
        return "id" if self.items is None else "class"

    def of(self, ids: Host) -> list[Any]:
        """Return the names of ids, the ids themselves where there are none; None for a step that is left out."""
        found = ids.tolist()
        if self.items is None:
            return [None if each < 0 else each for each in found]
        return [None if each < 0 else self.items[each] for each in found]

    def text(self, ids: Host) -> str:
        """Return ids as text: characters joined, anything else with spaces between."""
        if self.vocabulary is not None:
            return self.vocabulary.decode(ids[ids >= 0])
        return " ".join("-1" if each is None else str(each) for each in self.of(ids))

    def id_of(self, given: Any) -> int | None:
        """Return the id that is given as a name or as itself; None if it is neither."""
        if isinstance(given, str) and given in self._ids:
            return self._ids[given]
        if isinstance(given, str):
            found = int(given) if re.fullmatch(r"[0-9]{1,18}", given.strip()) else None
        else:
            is_whole = isinstance(given, int) or (isinstance(given, float) and given.is_integer())
            found = int(given) if is_whole and not isinstance(given, bool) else None
        return found if found is not None and 0 <= found < self._count else None

    @cached_property
    def _ids(self) -> dict[str, int]:
        """The ids by name, of a name that is there twice the first."""
        items = [] if self.items is None else list(self.items)
        return {name: index for index, name in reversed(list(enumerate(items)))}

    def __str__(self) -> str:
        return "that the model names" if self.items is None else listed(self.items)
