"""Files of torch.save: a pickle, and the storages beside it."""

import io
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fuzz import checkpoints, networks, pickles, zips
from fuzz.cases import Case, options
from fuzz.draws import Draw, damaged
from fuzz.pickles import Pickler

DATA = Path(__file__).parents[1] / "data"
REAL = (
    "layers.pt", "checkpoint.pth", "cell.pth", "module.pt", "parameters.pt", "views.pt", "bfloat16.pt", "cases/lightning.ckpt",
    "cases/checkpoint_namespace.pt", "cases/checkpoint_npfloat.pt", "cases/checkpoint_device.pt", "cases/wn_new.pt", "cases/word_lm.pt",
    "cases/linear_before_rnn.pt", "cases/criterion_class_weights.pt",
)  # fmt: skip


@cache
def real(name: str) -> tuple[tuple[bytes, ...], tuple[tuple[str, bytes], ...]]:
    """Return the opcodes of a file that torch has written, and its other members."""
    with zipfile.ZipFile(io.BytesIO((DATA / name).read_bytes())) as archive:
        held = {each: archive.read(each) for each in archive.namelist()}
    (root,) = (each.removesuffix("data.pkl") for each in held if each.endswith("/data.pkl"))
    others = tuple((each.removeprefix(root), data) for each, data in held.items() if not each.endswith("/data.pkl"))
    return tuple(pickles.taken_apart(held[f"{root}data.pkl"])), others


_READ: Mapping[str, Any] = {"activation": "tanh", "readout_activation": "identity"}
_ODD = (
    ("constants.pkl", b""), ("code/x.py", b""), ("data/00", b"1234"), (".data/serialization_id", b"1"), ("a/data.pkl", b""),
)  # fmt: skip
"""Members that torch writes seldom or never."""
_OTHER = (b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80\2}q\0.", bytes(257) + b"ustar", b"")
"""Files of before torch 1.6, and what is no zip file."""


def generate(draw: Draw) -> Case:
    """Return a file: of a state dict, of modules, or one of torch's own that is changed."""
    kind = draw.below(5)
    if kind == 2:
        own, others = real(draw.pick(REAL))
        members, opcodes = list(others), list(own)
        given = options(draw, "weights", ["rnn.weight_ih_l0", "fc.weight"], _READ)
    else:
        found, given = networks.whole_file(draw) if kind > 2 else checkpoints.state_dict(draw)
        opcodes, members = found.found, _members(draw, found)
    members.insert(0, ("data.pkl", pickles.changed(draw, opcodes)))
    if draw.once(20):
        members.append(draw.pick(_ODD))
    root = draw.pick((*["archive/"] * 16, "model/", "model/", "a/b/", ""))
    whole = zips.written(draw, [(f"{root}{name}", data) for name, data in members])
    if draw.once(16):
        whole = damaged(draw, whole)
    elif draw.once(40):
        whole = draw.pick(_OTHER)
    return Case(draw.pick((".pt", ".pth", ".ckpt", ".bin")), whole, given)


def _members(draw: Draw, found: Pickler) -> list[tuple[str, bytes]]:
    """Return the members beside a pickle; now and then one of them is odd or is not there."""
    order = draw.pick((*[b"little"] * 9, *[b"big"] * 4, None, None, b"odd"))
    members = [("byteorder", order)] if order is not None else []
    members += [(f"data/{key}", data) for key, data in found.storages.items()]
    members.append(("version", draw.pick((*[b"3\n"] * 18, b"4\n", b""))))
    if draw.once(40):
        del members[draw.below(len(members))]
    return members
