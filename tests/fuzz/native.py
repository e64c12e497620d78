"""Files of safetensors and of NumPy: headers, arrays and descriptions."""

import json
import struct
from collections.abc import Mapping
from typing import Any

from fuzz import jsons, weights, zips
from fuzz.cases import ACTIVATIONS, Case, options
from fuzz.draws import Draw, damaged
from fuzz.weights import Tensor

_CODES = {
    "f4": "F32",
    "f2": "F16",
    "f8": "F64",
    "bf16": "BF16",
    "i8": "I64",
    "i4": "I32",
    "u1": "U8",
    "i1": "I8",
    "b1": "BOOL",
    "c8": "C64",
}
_DESCRS = {
    "f4": "<f4",
    "f2": "<f2",
    "f8": "<f8",
    "bf16": "<u2",
    "i8": "<i8",
    "i4": "<i4",
    "u1": "|u1",
    "i1": "|i1",
    "b1": "|b1",
    "c8": "<c8",
}


def description(draw: Draw, names: Mapping[str, Tensor]) -> Any:
    """Return what a file says of a network that has the arrays of these names."""
    held = (name.removeprefix("weight_hh_").partition(".")[0] for name in names if name.startswith("weight_hh_"))
    places = list(dict.fromkeys(held))
    heads = {
        role: sum(name.startswith(role) and name.endswith("weight") for name in names)
        for role in ("encoder", "readout")
    }
    act = {"name": draw.pick(ACTIVATIONS), "alpha": draw.pick((None, 0.5, 1)), "beta": draw.pick((None, 0.25))}
    cell = {
        "kind": draw.pick(("Cell", "Cell", "RateCell")),
        "activation": act,
        "clip": draw.pick((None, 1.0, 3)),
        "leak": draw.pick((None, 0.5)),
    }
    found: dict[str, Any] = {
        "format_version": 3, "cells": dict.fromkeys(places, cell), "encoder": [act] * heads["encoder"],
        "readout": [act] * heads["readout"], "reads": draw.pick(("steps", "last", "final", "mean", "max")),
        "takes": draw.pick((None, "features", "tokens")), "noise": draw.pick((None, {"std": draw.pick((0.5, [0.1, 0.2])), "seed": 3})),
        "batch_first": draw.once(2),
        "vocabulary": draw.pick((None, "abc", ["a", "bc", "d"], "aab", "abcd")), "unknown": draw.pick((None, "a", "?")),
        "metadata": draw.pick(({}, {"licence": "CC0"})),
    }  # fmt: skip
    if draw.once(4):
        found = {key: found[key] for key in ("cells", "batch_first", "vocabulary", "metadata")}
        cells = {place: {key: cell[key] for key in ("activation", "clip", "leak")} for place in places}
        found |= {"format_version": 1, "cells": cells, "readout": act if heads["readout"] else None}
    return jsons.changed(draw, json.loads(json.dumps(found)))


def _arrays(draw: Draw) -> tuple[dict[str, Tensor], Any, dict[str, Any]]:
    """Return arrays, the description beside them or None, and options."""
    if draw.once(60):
        return _wide(), None, {"activation": "tanh"}
    if draw.once(2):
        held, given = weights.state_dict(draw)
        return held, None, options(draw, "weights", list(held), given)
    held = weights._native(draw, draw.pick(("f4", "f2", "f8", "bf16")))
    kind = draw.below(8)
    given = {"takes": draw.pick(("tokens", "features"))} if kind == 6 else {}
    return held, description(draw, held), options(draw, "weights", list(held)) if kind == 7 else given


def _wide() -> dict[str, Tensor]:
    """Return arrays of which one has rows that are read in parts."""
    found = {"weight_ih_l0": (2, 40_000), "weight_hh_l0": (2, 2)}
    return {
        name: Tensor("f8", shape, struct.pack("<d", 0.25) * weights.count_of(shape)) for name, shape in found.items()
    }


def safetensors(draw: Draw) -> Case:
    held, described, given = _arrays(draw)
    header: dict[str, Any] = {}
    data = bytearray()
    for name, tensor in held.items():
        begin = len(data)
        data += tensor.data
        header[name] = {"dtype": _CODES[tensor.code], "shape": list(tensor.shape), "data_offsets": [begin, len(data)]}
    notes: dict[str, Any] = (
        {} if described is None else {"rnn_backends": jsons.written(draw, described).decode("utf-8", "surrogateescape")}
    )
    if draw.once(8):
        notes |= draw.pick(({"format": "pt"}, {"tied": next(iter(held), "a")}, {"a": "b"}))
    if notes or draw.once(8):
        header["__metadata__"] = notes or None
    if draw.once(3):
        header = jsons.changed(draw, header)
    text = jsons.written(draw, header)
    length = draw.number() % 2**64 if draw.once(30) else len(text)
    whole = struct.pack("<Q", length) + text + bytes(data)
    return Case(".safetensors", damaged(draw, whole) if draw.once(12) else whole, given)


def npz(draw: Draw) -> Case:
    held, described, given = _arrays(draw)
    members = [(f"{name}.npy", npy(draw, tensor)) for name, tensor in held.items()]
    if described is not None:
        text = jsons.written(draw, described)
        members.insert(0, ("__rnn_backends__.npy", npy(draw, Tensor("u1", (len(text),), text))))
    if draw.once(6):
        members.append(
            (draw.pick(("chars.npy", "weight_ih_l0", "notes.txt", "x.npy")), npy(draw, Tensor("u1", (3,), b"abc")))
        )
    whole = zips.written(draw, members, deflated=draw.once(2))
    return Case(".npz", damaged(draw, whole) if draw.once(12) else whole, given)


def npy(draw: Draw, tensor: Tensor) -> bytes:
    """Return an array as NumPy writes it, or nearly so."""
    descr, fortran, version, shape = _DESCRS[tensor.code], False, b"\1\0", str(tensor.shape)
    kind = draw.below(30)
    if kind == 1:
        descr = draw.pick((">f4", "|O", "<U3", "|S2", "<M8", "<f4x", "", "f4", "<c16", ">i8", "|b1"))
    elif kind == 2:
        fortran = True
    elif kind == 3:
        version = draw.pick((b"\2\0", b"\3\0", b"\0\0"))
    elif kind == 4:
        shape = draw.pick(
            ("()", "(4, 4", "(-1,)", "4", f"({'9' * 30},)", f"({'1,' * 40})", "(0, 99999999999999999999)", "(4,)")
        )
    elif kind == 5:
        shape = f"({draw.number()}, {draw.number()})"
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    if kind == 6:
        text = draw.pick(
            (text[:-1], text + " " * 70 + "\n", "{}", text.replace(",", ""), "x" * 12000, text.replace("'", '"'))
        )
    length = draw.number() % 65536 if kind == 7 else len(text)
    size = struct.pack("<I", length) if version == b"\2\0" else struct.pack("<H", length)
    body = tensor.data[: draw.below(len(tensor.data) + 1)] if kind == 8 else tensor.data
    return b"\x93NUMPY" + version + size + text.encode() + body
