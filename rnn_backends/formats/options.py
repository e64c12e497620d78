"""Options the file does not record, given by the caller: one record for `load`, `from_*` and the command line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, NamedTuple, Self

from rnn_backends.core.messages import shown
from rnn_backends.core.network import READS, Network, as_vocabulary
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.values import KINDS, ROLES, Activations, Kind, checked

WEIGHTS = ("native", "torch", "flax", "keras")
_OWNERS = {
    "native": "this package's files",
    "torch": "torch's weights",
    "flax": "Flax's parameters",
    "keras": "Keras's models and files",
    "onnx": "ONNX models",
}


class Option(NamedTuple):
    """An option: its kind, the fact it gives, the formats that take it, and its help on the command line."""

    kind: Kind
    fact: str
    formats: tuple[str, ...]
    help: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LoadOptions:
    """Options the file does not record, given by the caller; None where nothing is given."""

    activation: Annotated[
        Callable[..., Any] | None,
        Option("activation", "the activation of its cells", WEIGHTS, "g1 of the model's cells, such as tanh"),
    ] = None
    readout_activation: Annotated[
        Activations | None,
        Option(
            "activations",
            "the activation of its readout",
            (*WEIGHTS, "onnx"),
            "g2 of its readout, such as softmax or identity; of a head one for each Linear, such as relu,softmax",
        ),
    ] = None
    encoder_activation: Annotated[
        Activations | None,
        Option(
            "activations",
            "the activation of its encoder",
            WEIGHTS,
            "activation of the Linear before the RNN, such as relu; of several one each",
        ),
    ] = None
    batch_first: Annotated[
        bool | None,
        Option(
            "flag",
            "which axis is the batch",
            WEIGHTS,
            "whether x is (batch, seq_len, input_size); default: as the framework has it, for torch no",
        ),
    ] = None
    reads: Annotated[
        str | None,
        Option("reads", "what its readout reads", (*WEIGHTS, "onnx"), f"what its readout reads: {', '.join(READS)}"),
    ] = None
    takes: Annotated[
        str | None,
        Option(
            "takes",
            "what its input is",
            (*WEIGHTS, "onnx"),
            "what x is: features, which is the default of weights, or tokens, which stand for one-hot features",
        ),
    ] = None
    key: Annotated[
        tuple[str, ...] | None,
        Option(
            "key",
            "which part of a checkpoint it is",
            ("native", "torch", "flax"),
            "which part of a checkpoint to read, such as ema; again for what is nested",
        ),
    ] = None
    roles: Annotated[
        Mapping[str, str] | None,
        Option(
            "texts",
            "the roles of its modules",
            ("native", "torch", "flax"),
            f"roles of modules by their prefixes, such as emb=embedding,fc=readout: {', '.join(ROLES)}",
        ),
    ] = None
    names: Annotated[
        Mapping[str, str] | None,
        Option(
            "texts",
            "the names of its arrays",
            ("native", "torch"),
            "names of arrays by those in the file, such as Wx=weight_ih_l0.T,Wh=weight_hh_l0",
        ),
    ] = None
    cell: Annotated[
        str | None,
        Option("cell", "what its cells are", ("native", "torch"), f"the class of its cells: {', '.join(KINDS)}"),
    ] = None
    leak: Annotated[
        float | None,
        Option("leak", "the leak of its cells", ("native", "torch"), "the leak of its cells, dt / tau, such as 0.2"),
    ] = None
    batch_norm_eps: Annotated[
        float | None,
        Option(
            "number",
            "eps of its BatchNorm",
            ("native", "torch"),
            "eps of BatchNorms in weights alone, each of which is applied right after the Linear before it",
        ),
    ] = None
    residual: Annotated[
        bool | None,
        Option(
            "flag", "whether its cells are residual", ("flax",), "whether the cells of a .msgpack file are residual"
        ),
    ] = None
    layers: Annotated[
        Sequence[str | tuple[str | None, str | None]] | None,
        Option(
            "paths",
            "the order of its cells",
            ("flax",),
            "paths of the cells of a .msgpack file from the input to the output, as a,b; of two directions f+b",
        ),
    ] = None
    go_backwards: Annotated[
        bool | None,
        Option(
            "flag", "which layers go backwards", ("keras",), "whether the SimpleRNNs of a .weights.h5 file go backwards"
        ),
    ] = None
    masking: Annotated[
        bool | None,
        Option("flag", "whether it masks steps", ("keras",), "whether the model of a Keras file masks steps"),
    ] = None
    vocabulary: Annotated[
        str | Sequence[str] | None,
        Option(
            "vocabulary",
            "its vocabulary",
            (*WEIGHTS, "onnx"),
            "characters that token ids stand for, in the order of the ids",
        ),
    ] = None
    external_data: Annotated[
        bool | None,
        Option("flag", "where its weights are", ("onnx",), "whether weights of .onnx may be in files beside it"),
    ] = None

    @classmethod
    def given(cls, form: str, **values: Any) -> Self:
        """Return the options of a call, checked for a format: native, torch, flax, keras or onnx."""
        found = {}
        for name, value in values.items():
            option = OPTIONS[name]
            if value is None:
                continue
            if form not in option.formats:
                owners = ", ".join(_OWNERS[each] for each in option.formats)
                msg = f"`{name}` is an option of {owners}, not of {_OWNERS[form]}; {way('leave_out', option=name)}."
                raise ArgumentError(msg)
            found[name] = checked(name, option.kind, value, form)
        return cls(**found)

    def require_left_out(self, source: str, names: Iterable[str]) -> None:
        """Check that the caller leaves out what a source records."""
        for name in names:
            if getattr(self, name) is not None:
                msg = f"{source} records {OPTIONS[name].fact}; {way('leave_out', option=name)}."
                raise FormatError(msg)

    def taking_tokens(self, embedding: str) -> Self:
        """Return the options of a network whose embedding takes token ids."""
        if self.takes == "features":
            advice = way("leave_out", option="takes")
            msg = f"the embedding {shown(embedding)} takes token ids, and no features; {advice}."
            raise ArgumentError(msg)
        return replace(self, takes="tokens")

    def spelt(self, network: Network) -> Network:
        """Return a network with the vocabulary that is given, whose token ids it spells."""
        if self.vocabulary is None:
            return network
        if network.vocabulary is not None:
            self.require_left_out("the file", ("vocabulary",))
        try:
            vocabulary = as_vocabulary(self.vocabulary, None, network.input_size)
            return replace(network, vocabulary=vocabulary, takes="tokens")
        except ArgumentError as error:
            msg = f"`vocabulary` does not fit: {error}"
            raise ArgumentError(msg) from error

    def completed(self, source: str, facts: Mapping[str, Any]) -> Self:
        """Return the options together with the facts that a source records, None where it does not."""
        known = {name: fact for name, fact in facts.items() if fact is not None}
        self.require_left_out(source, known)
        return replace(self, **known)


OPTIONS: Mapping[str, Option] = {each.name: each.type.__metadata__[0] for each in fields(LoadOptions)}  # type: ignore[union-attr]  # Annotated
