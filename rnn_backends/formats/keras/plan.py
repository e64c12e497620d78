"""The layers of a chain in their places: encoder, recurrent layers, what is read of them, and readout."""

from dataclasses import dataclass, field, replace
from typing import Any

from rnn_backends.core.messages import got
from rnn_backends.errors import FormatError
from rnn_backends.formats.keras.activations import LINEAR, Activated, from_config, from_layer
from rnn_backends.formats.keras.affine import KINDS as AFFINE
from rnn_backends.formats.keras.affine import Affine, require_last_axis
from rnn_backends.formats.keras.layers import INERT, RECURRENT, Part, is_activation, outline
from rnn_backends.formats.keras.recurrent import Recurrent, recurrent

NOT_ZERO = "x != 0"
"""The mask of an Embedding."""
POOLING = {"GlobalAveragePooling1D": "mean", "GlobalMaxPooling1D": "max"}
_ORDER = "Masking or Embedding, Dense, SimpleRNN or Bidirectional, a pooling over the steps, and Dense"


@dataclass(frozen=True)
class LinearPart:
    """A Dense or an Embedding: the place of its weights, and what it is with the layers beside it.

    Parameters
    ----------
    path : str
    activated : Activated or None
        Its activation; None where it is not recorded.
    biased : bool
    is_table : bool
        Whether it is an Embedding, whose weights are rows.
    is_identity : bool
        Whether it has no weights: an activation is applied to what the recurrent layers give.
    before, after : tuple of Affine
        What scales its input, and what it gives.
    """

    path: str
    activated: Activated | None = LINEAR
    biased: bool = False
    is_table: bool = False
    is_identity: bool = False
    before: tuple[Affine, ...] = ()
    after: tuple[Affine, ...] = ()


@dataclass
class Plan:
    """The layers of a network in their places.

    Parameters
    ----------
    encoder, readout : list of LinearPart
    layers : list of Recurrent
    scaled : dict of int to tuple of Affine
        What scales the input of a layer, by its index.
    reads : str, optional
        What is read of the last layer; None where it is not recorded.
    mask : str
        The mask of the steps, for a note; empty without one.
    """

    layers: list[Recurrent] = field(default_factory=list)
    encoder: list[LinearPart] = field(default_factory=list)
    readout: list[LinearPart] = field(default_factory=list)
    scaled: dict[int, tuple[Affine, ...]] = field(default_factory=dict)
    reads: str | None = None
    mask: str = ""

    @property
    def embedding(self) -> str | None:
        """The place of an Embedding."""
        return self.encoder[0].path if self.encoder and self.encoder[0].is_table else None

    @property
    def is_turned(self) -> bool:
        """Whether Keras gives the steps last one first, where here they are in the order of the input."""
        return self.reads == "steps" and self.reverse and self.layers[-1].sequences is True

    @property
    def reverse(self) -> bool:
        """Whether the last layer takes the steps in reverse.

        A SimpleRNN that goes backwards gives its steps in the order that it takes them, so what comes after it
        sees time reversed, and restores its order if it goes backwards too.
        """
        return bool(sum(bool(layer.backward and not layer.forward) for layer in self.layers) % 2)


def plan(parts: list[Part]) -> Plan:
    """Return the layers of a chain in their places, which must be those of a network of this package."""
    found = Planned(parts)
    for part in parts:
        found.add(part)
    return found.finished()


class Planned:
    """A plan that is made layer by layer."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts, self.plan = parts, Plan()
        self.pending: tuple[Affine, ...] = ()
        self.nest = ""
        self.is_mask_lost = False

    def add(self, part: Part) -> None:
        """Add the next layer."""
        plan, kind = self.plan, part.kind
        self.is_mask_lost |= bool(plan.mask) and part.version == 3 and not part.nest.startswith(self.nest)
        self.nest = part.nest
        if kind in INERT:
            return
        if kind == "Masking" and not (plan.mask or plan.encoder or plan.layers or self.pending):
            plan.mask = f"(x != {got(part.config.get('mask_value'))}).any(axis=-1)"
        elif kind == "Embedding" and not (plan.mask or plan.encoder or plan.layers or self.pending):
            plan.mask = NOT_ZERO if part.flag("mask_zero") else ""
            plan.encoder.append(LinearPart(part.path, is_table=True))
        elif kind in RECURRENT and not plan.readout:
            self._add_recurrent(part)
        elif kind == "TimeDistributed":
            self._add_in_time(part)
        elif kind == "Dense":
            activated = from_config(part.name, part.config.get("activation"), part.version)
            self._linears.append(LinearPart(part.path, activated, part.flag("use_bias"), before=self.pending))
            self.pending = ()
        elif kind in AFFINE:
            self._add_affine(part)
        elif is_activation(part) and (not self.pending if self._linears else plan.layers):
            self._add_activation(part)
        elif kind in POOLING and plan.layers:
            self._add_pooling(part)
        elif kind != "Flatten" or not self.is_whole:
            raise self._misplaced()

    def finished(self) -> Plan:
        """Return the plan, which must be one of a network."""
        if not self.plan.layers:
            raise self._misplaced()
        if self.pending:
            last = self.pending[-1].part
            msg = f"{last.name}, a {last.kind}, has no Dense or SimpleRNN after it that it could be multiplied into."
            raise FormatError(msg)
        top = self.plan.layers[-1]
        if self.plan.reads is None:
            self.plan.reads = "steps" if top.sequences else "final" if top.both or self.plan.reverse else "last"
        return self.plan

    @property
    def is_whole(self) -> bool:
        """Whether one reading of each sequence has taken the place of its steps."""
        return self.plan.reads is not None or (bool(self.plan.layers) and self.plan.layers[-1].sequences is False)

    @property
    def _linears(self) -> list[LinearPart]:
        return self.plan.readout if self.plan.layers else self.plan.encoder

    def _misplaced(self) -> FormatError:
        held = [part for part in self.parts if part.kind not in INERT]
        msg = f"the layers must be {_ORDER}, in this order, of which one is recurrent; got {outline(held)}."
        return FormatError(msg)

    def _add_recurrent(self, part: Part) -> None:
        plan = self.plan
        if self.is_whole:
            name = plan.layers[-1].name
            msg = f"{name} must have return_sequences=True, and no pooling after it, as a layer takes its steps."
            raise FormatError(msg)
        self._require_mask(part)
        found = recurrent(part)
        if found.both and plan.reverse:
            msg = f"{found.name} takes steps in reverse, whose two directions are joined the other way round."
            raise FormatError(msg)
        if self.pending:
            plan.scaled[len(plan.layers)] = self.pending
            self.pending = ()
        plan.layers.append(found)

    def _require_mask(self, part: Part) -> None:
        """Check that a layer is given the mask of the steps, if there is one."""
        if self.plan.mask and (part.masked is False or self.is_mask_lost):
            msg = f"{part.name}, a {part.kind}, takes masked steps too, as the mask is lost before it."
            raise FormatError(msg)

    def _add_in_time(self, part: Part) -> None:
        inner = part.inner("layer", "layer")
        if self.is_whole or (inner.kind not in {"Dense", *AFFINE, *INERT} and not is_activation(inner)):
            msg = f"{part.name} must hold a Dense, and be called with all steps; it holds {inner.name}, a {inner.kind}."
            raise FormatError(msg)
        if inner.kind in AFFINE:
            require_last_axis(inner, 2)
            inner = inner._replace(config={**inner.config, "axis": -1})
        self.add(inner)

    def _add_affine(self, part: Part) -> None:
        require_last_axis(part, 2 if self.is_whole else 3)
        if self._linears and self._linears[-1].activated == LINEAR and not self.pending:
            self._change_last(after=(*self._linears[-1].after, Affine(part)))
        else:
            self.pending = (*self.pending, Affine(part))

    def _add_activation(self, part: Part) -> None:
        activated = from_layer(part.name, part.kind, part.config, part.version)
        if activated == LINEAR:
            return
        if not self._linears:
            self._linears.append(LinearPart(part.path, is_identity=True, before=self.pending))
            self.pending = ()
        last = self._linears[-1]
        if last.activated != LINEAR or last.is_table:
            msg = f"{part.name}, a {part.kind}, follows another activation, or no Dense; a Dense has one."
            raise FormatError(msg)
        if part.kind == "Softmax" and self.plan.mask and not self.is_whole:
            msg = f"{part.name}, a Softmax, takes the mask of the steps for one of its inputs, which none does here."
            raise FormatError(msg)
        self._change_last(activated=activated)

    def _change_last(self, **changes: Any) -> None:
        self._linears[-1] = replace(self._linears[-1], **changes)

    def _add_pooling(self, part: Part) -> None:
        plan, reads = self.plan, POOLING[part.kind]
        if self.is_whole:
            msg = f"{part.name}, a {part.kind}, must be given all steps, and {plan.layers[-1].name} returns the last."
            raise FormatError(msg)
        # The mean of what is scaled and shifted, as by a Dense, is the scaled and shifted mean.
        if any(linear.activated != LINEAR for linear in plan.readout) or (plan.readout and reads == "max"):
            raise self._misplaced()
        if self.pending and reads == "max":
            scaled = self.pending[-1].part
            msg = (
                f"{part.name}, a {part.kind}, takes the maximum of what {scaled.name}, a {scaled.kind}, gives, which "
                "is none of the states where a factor is negative."
            )
            raise FormatError(msg)
        if part.config.get("data_format") not in ("channels_last", None) or part.flag("keepdims", default=False):
            msg = f"{part.name}, a {part.kind}, must be made without data_format and keepdims."
            raise FormatError(msg)
        if plan.mask and reads == "max":
            msg = f"{part.name}, a {part.kind}, takes masked steps too, which no network here does."
            raise FormatError(msg)
        if plan.mask and plan.reverse:
            msg = f"{part.name}, a {part.kind}, is given steps in reverse, but the mask as it is."
            raise FormatError(msg)
        self._require_mask(part)
        plan.reads = reads
