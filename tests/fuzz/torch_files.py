"""Files of torch.save: a pickle, and the storages beside it."""

import io
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from fuzz import modules, pickles, weights, zips
from fuzz.cases import Case, options
from fuzz.draws import Draw, damaged
from fuzz.pickles import Object, Pickler

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


def state_dict(draw: Draw) -> tuple[Pickler, dict[str, Any]]:
    """Return the opcodes of a state dict, alone or in a checkpoint, and options."""
    held, given = weights.state_dict(draw)
    found, kind = Pickler(draw), draw.below(11)
    whole: Any = dict(held)
    optimizer = {
        "state": {0: {"step": 3, "exp_avg": weights.tensor(draw, 4)}},
        "param_groups": [{"lr": 0.1, "params": [0, 1]}],
    }
    if kind == 1:
        whole = {"epoch": 7, "state_dict": whole, "optimizer": optimizer, "loss": 0.5}
    elif kind == 2:
        whole = {"model": whole, "ema": whole, "args": Object("argparse Namespace", {"lr": 0.1})}
    elif kind == 3:
        whole = {"model": {"net": whole}, "hyper_parameters": {"hidden_size": 4}, "other": draw.value()}
    elif kind == 4:
        whole = [whole, optimizer, Object("numpy ndarray", None)]
    elif kind == 5:
        whole = Object("collections OrderedDict", whole, (), b"R")
    elif kind == 6:
        whole |= {"epoch": 3, "_metadata": {"": {"version": 1}}, "names": ["a"], draw.text(): draw.value(), 5: 6}
    elif kind == 7:
        whole = {"a": whole, "b": {name: weights.tensor(draw, *each.shape) for name, each in held.items()}}
    elif kind == 8:
        whole = {name: each if draw.once(2) else [list(each.shape), 0.5] for name, each in whole.items()}
    elif kind == 9:
        whole = {**whole, "inner": {name: weights.tensor(draw, *each.shape) for name, each in held.items()}}
    elif kind == 10:
        parts: dict[str, Any] = {}
        for name, each in whole.items():
            begin, _, rest = name.partition(".")
            parts.setdefault(begin, {})[rest or "weight"] = each
        whole = parts
    found.value(whole)
    found.found.append(b".")
    if draw.once(40):
        found.found.append(b"N")
    return found, options(draw, "weights", list(held), given)


def generate(draw: Draw) -> Case:
    kind = draw.below(5)
    if kind == 2:
        own, others = real(draw.pick(REAL))
        members, opcodes = list(others), list(own)
        given = options(
            draw, "weights", ["rnn.weight_ih_l0", "fc.weight"], {"activation": "tanh", "readout_activation": "identity"}
        )
    else:
        if kind in {3, 4}:
            found = modules.opcodes(draw)
            given = options(
                draw,
                "weights",
                [
                    "rnn.weight_ih_l0",
                    "fc.weight",
                    "out.weight",
                    "emb.weight",
                    "0.weight",
                    "1.weight",
                    "2.weight",
                    "head.bias",
                    "x.weight",
                ],
                {"readout_activation": "identity"},
            )
        else:
            found, given = state_dict(draw)
        opcodes = found.found
        order = draw.pick((b"little", b"little", b"little", b"big", b"odd", None))
        members = [("byteorder", order)] if order is not None else []
        members += [(f"data/{key}", data) for key, data in found.storages.items()]
        members.append(("version", draw.pick((b"3\n", b"3\n", b"3\n", b"3\n", b"4\n", b""))))
    members.insert(0, ("data.pkl", pickles.changed(draw, opcodes)))
    if draw.once(20):
        members.append(
            draw.pick(
                (
                    ("constants.pkl", b""),
                    ("code/x.py", b""),
                    ("data/00", b"1234"),
                    (".data/serialization_id", b"1"),
                    ("a/data.pkl", b""),
                )
            )
        )
    root = draw.pick(("archive/", "archive/", "model/", "a/b/", ""))
    whole = zips.written(draw, [(f"{root}{name}", data) for name, data in members])
    if draw.once(16):
        whole = damaged(draw, whole)
    elif draw.once(60):
        whole = draw.pick((b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80\2}q\0.", bytes(257) + b"ustar", b""))
    return Case(draw.pick((".pt", ".pth", ".ckpt", ".bin")), whole, given)
