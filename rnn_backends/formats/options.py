"""Options the file does not record, given by the caller: one record for `load`, `from_*` and the command line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from rnn_backends.core.activations import as_activation
from rnn_backends.core.network import READS, TAKES, Network
from rnn_backends.core.parameters import require_choice, require_flag
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.names import shown_value

WEIGHTS = ("native", "torch", "flax", "keras")
_OWNERS = {
    "native": "this package's files",
    "torch": "torch's weights",
    "flax": "Flax's parameters",
    "keras": "Keras's models and files",
    "onnx": "ONNX models",
}

Kind = Literal["activation", "activations", "flag", "key", "number", "paths", "reads", "takes", "texts", "vocabulary"]
CHOICES: Mapping[str, Sequence[str]] = {"reads": READS, "takes": TAKES}
ROLES = ("embedding", "encoder", "layers", "readout", "ignore")
"""The roles that a module of a state dict can have."""

Activations: TypeAlias = Callable[..., Any] | tuple[Callable[..., Any], ...]
"""An activation, of the last of several Linear, or one for each of them."""


@dataclass(frozen=True)
class Named:
    """An activation by the name that a framework gives it, whose meaning its format looks up."""

    name: str

    def __call__(self, z: Any) -> Any:
        """Refuse to be applied: what it means depends on the source."""
        msg = f"the activation {self.name!r} of a framework was not looked up"
        raise TypeError(msg)


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
    readout_activation: Activations | None = field(
        default=None,
        metadata={
            "option": Option(
                "activations",
                "the activation of its readout",
                (*WEIGHTS, "onnx"),
                "g2 of its readout, such as softmax or identity; of a head one for each Linear, such as relu,softmax",
            )
        },
    )
    encoder_activation: Activations | None = field(
        default=None,
        metadata={
            "option": Option(
                "activations",
                "the activation of its encoder",
                WEIGHTS,
                "activation of the Linear before the RNN, such as relu; of several one each",
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
    key: str | tuple[str, ...] | None = field(
        default=None,
        metadata={
            "option": Option(
                "key",
                "which part of a checkpoint it is",
                ("native", "torch", "flax"),
                "which part of a checkpoint to read, such as ema; again for what is nested",
            )
        },
    )
    roles: Mapping[str, str] | None = field(
        default=None,
        metadata={
            "option": Option(
                "texts",
                "the roles of its modules",
                ("native", "torch", "flax"),
                f"roles of modules by their prefixes, such as emb=embedding,fc=readout: {', '.join(ROLES)}",
            )
        },
    )
    names: Mapping[str, str] | None = field(
        default=None,
        metadata={
            "option": Option(
                "texts",
                "the names of its arrays",
                ("native", "torch"),
                "names of arrays by those in the file, such as Wx=weight_ih_l0.T,Wh=weight_hh_l0",
            )
        },
    )
    batch_norm_eps: float | None = field(
        default=None,
        metadata={
            "option": Option(
                "number",
                "eps of its BatchNorm",
                ("native", "torch"),
                "eps of BatchNorms in weights alone, each of which is applied right after the Linear before it",
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
        default=None,
        metadata={
            "option": Option(
                "paths",
                "the order of its cells",
                ("flax",),
                "paths of the cells of a .msgpack file from the input to the output, as a,b; of two directions f+b",
            )
        },
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
    vocabulary: str | Sequence[str] | None = field(
        default=None,
        metadata={
            "option": Option(
                "vocabulary",
                "its vocabulary",
                (*WEIGHTS, "onnx"),
                "characters that token ids stand for, in the order of the ids",
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
                msg = f"`{name}` is an option of {owners}, not of {_OWNERS[form]}; {way('leave_out', option=name)}."
                raise ArgumentError(msg)
            checked[name] = _checked(name, option.kind, value, form)
        return cls(**checked)

    def require_left_out(self, source: str, names: Iterable[str]) -> None:
        """Check that the caller leaves out what a source records."""
        for name in names:
            if getattr(self, name) is not None:
                msg = f"{source} records {OPTIONS[name].fact}; {way('leave_out', option=name)}."
                raise FormatError(msg)

    def taking_tokens(self, embedding: str) -> Self:
        """Return the options of a network whose embedding takes token ids."""
        if self.takes == "features":
            msg = f"the embedding {embedding!a} takes token ids, and no features; {way('leave_out', option='takes')}."
            raise ArgumentError(msg)
        return replace(self, takes="tokens")

    def spelt(self, network: Network) -> Network:
        """Return a network with the vocabulary that is given, whose token ids it spells."""
        if self.vocabulary is None:
            return network
        if network.vocabulary is not None:
            self.require_left_out("the file", ("vocabulary",))
        try:
            return replace(network, vocabulary=_items(self.vocabulary), takes="tokens")
        except ArgumentError as error:
            msg = f"`vocabulary` does not fit: {error}"
            raise ArgumentError(msg) from error

    def completed(self, source: str, facts: Mapping[str, Any]) -> Self:
        """Return the options together with the facts that a source records, None where it does not."""
        known = {name: fact for name, fact in facts.items() if fact is not None}
        self.require_left_out(source, known)
        return replace(self, **known)


def _items(vocabulary: str | Sequence[str]) -> str | tuple[str, ...]:
    return vocabulary if isinstance(vocabulary, str) else tuple(vocabulary)


_NAMING = ("keras", "flax")
"""Formats with activations of their own, which may differ from those of the same names here."""
OPTIONS: Mapping[str, Option] = {each.name: each.metadata["option"] for each in fields(LoadOptions)}


def _checked(name: str, kind: Kind, value: Any, form: str) -> Any:
    if kind == "flag":
        require_flag(name, value)
    if kind in CHOICES:
        require_choice(name, value, CHOICES[kind])
    if kind in _CHECKS:
        wanted, holds = _CHECKS[kind]
        if not holds(value):
            msg = f"`{name}` must be {wanted}; got {shown_value(value)}."
            raise ArgumentError(msg)
    if name == "roles":
        for role in value.values():
            require_choice(name, role, ROLES)
    if kind == "activations" and isinstance(value, (list, tuple)):
        return tuple(_activation(name, each, form) for each in value)
    return _activation(name, value, form) if kind in {"activation", "activations"} else value


def _activation(name: str, value: Any, form: str) -> Callable[..., Any]:
    if form in _NAMING and isinstance(value, str):
        return Named(value)
    try:
        return as_activation(value)
    except ArgumentError as error:
        if name == "activation":
            raise
        msg = f"`{name}` is none: {error}"
        raise ArgumentError(msg) from error


def _is_text_by_text(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) for item in value.items() for text in item)


def _is_key(value: Any) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return bool(parts) and all(isinstance(part, str) for part in parts)


def _is_eps(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0.0 <= value < 1.0  # type: ignore[operator]  # Real has these


_CHECKS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "texts": ("a mapping of str to str", _is_text_by_text),
    "key": ("a str, or a tuple of them for what is nested", _is_key),
    "number": ("a number from 0 to below 1", _is_eps),
}
