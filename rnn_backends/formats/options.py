"""Options the file does not record, given by the caller: one record for `load`, `from_*` and the command line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple, Self

from rnn_backends.core.activations import as_activation
from rnn_backends.core.network import READS, TAKES
from rnn_backends.core.parameters import require_choice, require_flag
from rnn_backends.errors import ArgumentError, FormatError

WEIGHTS = ("native", "torch", "flax", "keras")
_OWNERS = {
    "native": "this package's files",
    "torch": "torch's weights",
    "flax": "Flax's parameters",
    "keras": "Keras's models and files",
    "onnx": "ONNX models",
}

Kind = Literal["activation", "flag", "paths", "reads", "takes"]
CHOICES: Mapping[str, Sequence[str]] = {"reads": READS, "takes": TAKES}


class Option(NamedTuple):
    """An option: its kind, the fact it gives, the formats that take it, and its help where the command line has it."""

    kind: Kind
    fact: str
    formats: tuple[str, ...]
    help: str | None = None


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Options the file does not record, given by the caller; None where nothing is given."""

    activation: Callable[..., Any] | None = field(
        default=None,
        metadata={
            "option": Option(
                "activation", "the activation of its cells", WEIGHTS, "g1 of the model's cells, such as tanh"
            )
        },
    )
    readout_activation: Callable[..., Any] | None = field(
        default=None,
        metadata={
            "option": Option(
                "activation",
                "the activation of its readout",
                (*WEIGHTS, "onnx"),
                "g2 of its readout, such as softmax or identity",
            )
        },
    )
    batch_first: bool | None = field(
        default=None,
        metadata={
            "option": Option("flag", "which axis is the batch", WEIGHTS, "whether x is (batch, seq_len, input_size)")
        },
    )
    reads: str | None = field(
        default=None,
        metadata={
            "option": Option("reads", "what its readout reads", WEIGHTS, f"what its readout reads: {', '.join(READS)}")
        },
    )
    takes: str | None = field(
        default=None,
        metadata={
            "option": Option(
                "takes",
                "what its input is",
                (*WEIGHTS, "onnx"),
                "what x is: features, which is the default of weights, or tokens, which stand for one-hot features",
            )
        },
    )
    residual: bool | None = field(
        default=None,
        metadata={
            "option": Option(
                "flag", "whether its cells are residual", ("flax",), "whether the cells of a .msgpack file are residual"
            )
        },
    )
    layers: Sequence[str | tuple[str | None, str | None]] | None = field(
        default=None, metadata={"option": Option("paths", "the order of its cells", ("flax",))}
    )
    go_backwards: bool | None = field(
        default=None,
        metadata={
            "option": Option(
                "flag",
                "which layers go backwards",
                ("keras",),
                "whether the SimpleRNNs of a .weights.h5 file go backwards",
            )
        },
    )
    masking: bool | None = field(
        default=None,
        metadata={
            "option": Option(
                "flag", "whether it masks steps", ("keras",), "whether the model of a Keras file masks steps"
            )
        },
    )
    external_data: bool | None = field(
        default=None, metadata={"option": Option("flag", "where its weights are", ("onnx",))}
    )

    @classmethod
    def given(cls, form: str, **values: Any) -> Self:
        """Return the options of a call, checked for a format: native, torch, flax, keras or onnx."""
        checked = {}
        for name, value in values.items():
            option = OPTIONS[name]
            if value is None:
                continue
            if form not in option.formats:
                owners = ", ".join(_OWNERS[each] for each in option.formats)
                msg = f"`{name}` is an option of {owners}; leave it out for {_OWNERS[form]}."
                raise ArgumentError(msg)
            checked[name] = _checked(name, option.kind, value)
        return cls(**checked)

    def require_left_out(self, source: str, names: Iterable[str]) -> None:
        """Check that the caller leaves out what a source records."""
        for name in names:
            if getattr(self, name) is not None:
                msg = f"{source} records {OPTIONS[name].fact}; leave `{name}` out."
                raise FormatError(msg)

    def taking_tokens(self, embedding: str) -> Self:
        """Return the options of a network whose embedding takes token ids."""
        if self.takes == "features":
            msg = f"the embedding {embedding!a} takes token ids, and no features; leave `takes` out."
            raise ArgumentError(msg)
        return replace(self, takes="tokens")

    def completed(self, source: str, facts: Mapping[str, Any]) -> Self:
        """Return the options together with the facts that a source records, None where it does not."""
        known = {name: fact for name, fact in facts.items() if fact is not None}
        self.require_left_out(source, known)
        return replace(self, **known)


OPTIONS: Mapping[str, Option] = {each.name: each.metadata["option"] for each in fields(LoadOptions)}


def _checked(name: str, kind: Kind, value: Any) -> Any:
    if kind == "flag":
        require_flag(name, value)
    if kind in CHOICES:
        require_choice(name, value, CHOICES[kind])
    if kind != "activation":
        return value
    try:
        return as_activation(value)
    except ArgumentError as error:
        if name == "activation":
            raise
        msg = f"`{name}` is none: {error}"
        raise ArgumentError(msg) from error
