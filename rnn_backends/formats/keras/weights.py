"""A .weights.h5 file alone, which records its layers by the names of their groups, and nothing else."""

import re

from rnn_backends.errors import FormatError
from rnn_backends.formats.assembly import READOUT_OPEN
from rnn_backends.formats.keras.activations import Activated
from rnn_backends.formats.keras.arrays import Arrays
from rnn_backends.formats.keras.network import NOT_ZERO, Plan
from rnn_backends.formats.keras.recurrent import CellPart, Recurrent
from rnn_backends.formats.names import listed, shown
from rnn_backends.formats.options import LoadOptions

_LAYER = re.compile(r"(embedding|simple_rnn|bidirectional|dense|time_distributed)(?:_([1-9][0-9]{0,3}))?")
_INERT = re.compile(r"(?:input_layer|identity|dropout|spatial_dropout1_d|alpha_dropout|gaussian_dropout)(?:_[0-9]+)?")
_KINDS = ("embedding", "simple_rnn", "bidirectional", "dense")
_TOP = {"layers", "vars", "optimizer"}
_READ = "SimpleRNN, or Bidirectional, after at most one Embedding and before at most one Dense"


def plan_of_weights(arrays: Arrays, options: LoadOptions) -> Plan:
    """Return the layers in their places; what the file leaves open must be given."""
    if options.activation is None:
        msg = "weights alone do not record the activation of the cells; pass the right one, e.g. activation='tanh'."
        raise FormatError(msg)
    folders = _folders(arrays)
    activated = Activated(options.activation)
    cells = [_cell(arrays, folder, activated) for folder in folders["simple_rnn"]]
    layers = [
        Recurrent(shown(cell.path), *(([], [cell]) if options.go_backwards else ([cell], [])), None) for cell in cells
    ]
    for folder in folders["bidirectional"]:
        sides = [_cell(arrays, f"{folder}/{side}_layer", activated) for side in ("forward", "backward")]
        layers.append(Recurrent(shown(folder), sides[:1], sides[1:], None))
    dense = next(iter(folders["dense"]), None)
    if dense is None and folders["bidirectional"]:
        msg = "weights alone do not record how the last Bidirectional merges its directions; read the .keras file."
        raise FormatError(msg)
    if dense is not None and options.readout_activation is None:
        raise FormatError(READOUT_OPEN)
    embedding = next(iter(folders["embedding"]), None)
    _require_masking(embedding, options.masking)
    biased = dense is not None and arrays.count(dense) == 2
    return Plan(layers, embedding, dense, biased, mask=NOT_ZERO if options.masking else "")


def _require_masking(embedding: str | None, masking: bool | None) -> None:
    if embedding is not None and masking is None:
        msg = (
            "weights alone do not record whether an Embedding has mask_zero; pass masking=False if it has not, or "
            f"masking=True if it has, and then mask={NOT_ZERO} at each call."
        )
        raise FormatError(msg)
    if embedding is None and masking:
        msg = "there is no Embedding, which alone could mask steps here; leave `masking` out."
        raise FormatError(msg)


def _cell(arrays: Arrays, folder: str, activated: Activated) -> CellPart:
    path = f"{folder}/cell"
    return CellPart(path, activated, arrays.count(path) == 3)


def _folders(arrays: Arrays) -> dict[str, list[str]]:
    """Return the folders of the weights of the layers, by class, in their order."""
    file = arrays.file
    if unknown := file.group("").keys() - _TOP:
        msg = (
            f"it holds {listed(sorted(unknown))} beside layers, as Keras's older .h5 files and models that are a class "
            "of their own do, which do not record what feeds what; save a Sequential or functional model."
        )
        raise FormatError(msg)
    found: dict[str, dict[int, str]] = {kind: {} for kind in _KINDS}
    for name in file.group("layers"):
        if match := _LAYER.fullmatch(name):
            kind = match[1].replace("time_distributed", "dense")
            inner = "/layer" if kind != match[1] else ""
            place = int(match[2] or 0)
            if place in found[kind]:
                msg = f"beside a Dense there is {shown(name)}; a network has one readout."
                raise FormatError(msg)
            found[kind][place] = f"layers/{name}{inner}"
        elif not _INERT.fullmatch(name):
            msg = f"it holds {shown(name)}; weights alone are enough for {_READ}. Read the .keras file."
            raise FormatError(msg)
    recurrent = [kind for kind in ("simple_rnn", "bidirectional") if found[kind]]
    if len(recurrent) != 1 or len(found["dense"]) > 1 or len(found["embedding"]) > 1:
        got = listed(sorted(file.group("layers")))
        what = f"the names of its layers, {got}, do not show which feeds which; those of {_READ}, do"
        msg = f"{what}. Read the .keras file."
        raise FormatError(msg)
    return {kind: [path for _, path in sorted(held.items())] for kind, held in found.items()}
