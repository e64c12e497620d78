"""Parts of a torch module, as records: which of them compute, their sizes, and what is known of their order."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rnn_backends.core.messages import shown
from rnn_backends.formats.torch.classes import bare

Kind = Literal["rnn", "linear", "embedding", "activation", "norm", "code", "identity"]
WHOLE = 0
"""The chain that the whole module is, where it is an nn.Sequential."""
_LONGEST = 80
MAIN = ("rnn", "linear", "embedding")

FITTING: Mapping[str, tuple[Kind, ...]] = {
    "embedding": ("embedding",),
    "encoder": ("embedding", "linear", "norm", "activation"),
    "layers": ("rnn",),
    "readout": ("linear", "norm", "activation"),
}
"""The kinds of parts that can have a role."""


class Part(NamedTuple):
    """A module that computes.

    Parameters
    ----------
    path : str
        Where it is in the whole.
    kind : str
        ``"code"`` is a class of the user's, which is not looked into; ``"identity"`` stands where an activation is
        applied to no Linear.
    label : str
        The name of its class.
    takes, gives : int
        Numbers of features; those that an embedding takes are ids.
    chain : int, optional
        The nn.Sequential that it is in, whose order is that of computation.
    role : str, optional
        As given by the caller.
    activation : callable, optional
        Of an activation; None of one that has no counterpart here.
    axis : int, optional
        That of a softmax; -1 of what is elementwise.
    module : object
    """

    path: str
    kind: Kind
    label: str = ""
    takes: int = 0
    gives: int = 0
    chain: int | None = None
    role: str | None = None
    activation: Callable[..., Any] | None = None
    axis: int | None = -1
    module: Any = None

    def __str__(self) -> str:
        sizes = f" {self.takes} to {self.gives}" if self.kind in MAIN else ""
        return f"{shown(self.path) if self.path else 'the module'} ({bare(self.label)}{sizes})"


class Applied(NamedTuple):
    """An embedding or a Linear, the BatchNorms before and after it, and its activation, None where that is open.

    `by` is the part that applies the activation.
    """

    part: Part
    before: tuple[Part, ...] = ()
    after: tuple[Part, ...] = ()
    activation: Callable[..., Any] | None = None
    by: Part | None = None


class Plan(NamedTuple):
    """Parts in the order in which they are applied."""

    encoder: Sequence[Applied]
    layers: Sequence[Part]
    readout: Sequence[Applied]


def outline(parts: Sequence[Part]) -> str:
    """Return some parts for one line of a message, which names the first of many."""
    text, count = "", 0
    for part in parts:
        longer = f"{text}, {part}" if text else str(part)
        if text and len(longer) > _LONGEST:
            break
        text, count = longer, count + 1
    return f"{text} and {len(parts) - count} more" if count < len(parts) else text
