"""State dicts: arrays by the names that torch, the text-books and this package give them, and by others."""

import struct
from typing import Any, NamedTuple

from fuzz.draws import Draw

SIZES = {"f4": 4, "f2": 2, "f8": 8, "bf16": 2, "i8": 8, "i4": 4, "u1": 1, "i1": 1, "b1": 1, "c8": 8}
_FORMS = {"f4": "f", "f2": "e", "f8": "d"}


class Tensor(NamedTuple):
    """An array: its dtype, shape and bytes."""

    code: str
    shape: tuple[int, ...]
    data: bytes


def count_of(shape: tuple[int, ...]) -> int:
    found = 1
    for size in shape:
        found *= size
    return found


def tensor(draw: Draw, *shape: int, code: str = "f4") -> Tensor:
    """Return an array of small numbers; now and then there are strange ones in it."""
    count = count_of(shape)
    if code not in _FORMS:
        return Tensor(code, shape, bytes([0, 63] * (SIZES[code] * count // 2 + 1))[: SIZES[code] * count])
    numbers = [0.25 + (k * 37 % 11) / 16 for k in range(count)]
    if count and draw.once(16):
        numbers[draw.below(count)] = draw.pick((float("nan"), float("inf"), float("-inf"), 6e4, -0.0, -1.0, 0.0))
    return Tensor(code, shape, struct.pack(f"<{count}{_FORMS[code]}", *numbers))


def state_dict(draw: Draw) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the arrays of a network, and the options that it is loaded with if it is sound."""
    kind = draw.below(8)
    code = draw.pick(("f4", "f4", "f4", "f2", "f8", "bf16"))
    if kind == 5:
        return _book(draw, code), {"activation": "tanh", "readout_activation": "softmax"}
    if kind == 6:
        return _native(draw, code), {"activation": "tanh"}
    if kind == 7:
        names = ["Wx", "Wh", "b", "W_vocab", "b_vocab", "W_embed", "my.U", "my.V", "W", "data"]
        found = {
            draw.pick(names): tensor(draw, *draw.pick(((3, 3), (3, 2), (3,), (2, 3))), code=code)
            for _ in range(1 + draw.below(5))
        }
        return found, {"activation": "tanh"}
    return _torch(draw, code)


def _torch(draw: Draw, code: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return modules in a row: what is before the RNN, it, and what is after."""
    begin = draw.pick(("", "", "model.", "module.", "_orig_mod.", "net.0."))
    found: dict[str, Tensor] = {}
    given: dict[str, Any] = {"activation": draw.pick(("tanh", "relu"))}
    width = 3
    for number in range(draw.pick((0, 0, 1, 1, 2, 3))):
        kind = draw.pick(("embedding", "linear", "batch_norm", "layer_norm"))
        width = module(
            draw, found, f"{begin}{draw.pick(('emb', 'fc_in', 'enc', '0'))}{number or ''}", kind, width, code
        )
        given |= {"encoder_activation": "relu" if number else "identity"} if kind == "linear" else {}
    for number in range(draw.pick((1, 1, 1, 2, 0))):
        name = draw.pick(("rnn", "", "cells.0", "encoder", "backbone.rnn")) + (str(number) if number else "")
        if number and draw.once(3):
            module(draw, found, f"{begin}norm{number}", "batch_norm", width, code)
        width = recurrent(draw, found, f"{begin}{name}", width, code)
    count = draw.pick((0, 1, 1, 2, 3, 12))
    for number in range(count):
        kind = draw.pick(("linear", "linear", "linear", "batch_norm", "layer_norm", "conv"))
        name = draw.pick(("fc", "decoder", "head.0", "readout", "out_proj"))
        width = module(draw, found, f"{begin}{name}{number or ''}", kind, width, code)
    if any(name.endswith("running_mean") for name in found):
        given["batch_norm_eps"] = 1e-5
    if count:
        given["readout_activation"] = "identity" if count == 1 else ("relu",) * (count - 1) + ("identity",)
    if draw.once(4):
        more = draw.pick(
            ("n_averaged", "criterion.weight", "loss_fn.pos_weight", "steps", "h0", "h_0", "init_state", "mask", "pe")
        )
        found[f"{begin}{more}"] = tensor(
            draw, *draw.pick(((), (1,), (4,), (1, 1, 4), (2, 1, 4), (1, 4))), code=draw.pick((code, "i8"))
        )
    return changed(draw, found), given


def recurrent(draw: Draw, found: dict[str, Tensor], prefix: str, width: int, code: str) -> int:
    """Add the arrays of an RNN of one to three layers; return what it gives."""
    own, size = f"{prefix}." if prefix else "", draw.pick((4, 4, 3, 1))
    sides = draw.pick((("",), ("",), ("", "_reverse")))
    kind, gates = draw.below(12), 4 if draw.once(20) else 3 if draw.once(20) else 1
    ending = "" if draw.once(8) else None  # of an RNNCell
    for layer in range(draw.pick((1, 1, 2, 3))):
        for side in sides:
            place = f"_l{layer}{side}" if ending is None else ending
            arrays = {
                f"weight_ih{place}": (gates * size, width), f"weight_hh{place}": (gates * size, size),
                f"bias_ih{place}": (gates * size,), f"bias_hh{place}": (gates * size,),
            }  # fmt: skip
            for name, shape in list(arrays.items())[: 2 if kind == 1 else 3 if kind == 2 else 4]:
                _add(draw if kind in {3, 4} else Draw(b""), found, own, name, shape, code, kind)
        width = size * len(sides)
    return width


def _add(
    draw: Draw, found: dict[str, Tensor], own: str, name: str, shape: tuple[int, ...], code: str, kind: int
) -> None:
    """Add an array, or what it is computed from: a weight norm, a spectral norm, of either kind, or a mask."""
    way = draw.below(6) if len(shape) == 2 else 0
    if way == 1:
        found |= {
            f"{own}{name}_g": tensor(draw, shape[0], 1, code=code),
            f"{own}{name}_v": tensor(draw, *shape, code=code),
        }
    elif way == 2:
        at = f"{own}parametrizations.{name}.original"
        found |= {f"{at}0": tensor(draw, shape[0], 1, code=code), f"{at}1": tensor(draw, *shape, code=code)}
    elif way == 3:
        parts = {"_orig": shape, "_u": shape[:1], "_v": shape[1:]}
        found |= {f"{own}{name}{part}": tensor(draw, *each, code=code) for part, each in parts.items()}
    elif way == 4:
        at = f"{own}parametrizations.{name}."
        parts = {"original": shape, "0._u": shape[:1], "0._v": shape[1:]}
        found |= {f"{at}{part}": tensor(draw, *each, code=code) for part, each in parts.items()}
    elif way == 5:
        found |= {
            f"{own}{name}_orig": tensor(draw, *shape, code=code),
            f"{own}{name}_mask": tensor(draw, *shape, code=code),
        }
    else:
        found[f"{own}{name}"] = tensor(draw, *shape, code=code)


def module(draw: Draw, found: dict[str, Tensor], prefix: str, kind: str, width: int, code: str) -> int:
    """Add the arrays of a module; return what it gives."""
    if kind == "embedding":
        found[f"{prefix}.weight"] = tensor(draw, 5, width, code=code)
        return width
    if kind in {"batch_norm", "layer_norm"}:
        names = ["weight", "bias", "running_mean", "running_var"][: 4 if kind == "batch_norm" else 2]
        found |= {f"{prefix}.{name}": tensor(draw, width, code=code) for name in names[draw.pick((0, 0, 2)) :]}
        if kind == "batch_norm" and not draw.once(3):
            found[f"{prefix}.num_batches_tracked"] = tensor(draw, code="i8")
        return width
    size = draw.pick((2, 3, 4))
    shape = (size, width) if kind == "linear" else (size, width, 3)
    _add(draw, found, f"{prefix}.", "weight", shape, code, 3)
    if not draw.once(4):
        found[f"{prefix}.bias"] = tensor(draw, size, code=code)
    return size


def _book(draw: Draw, code: str) -> dict[str, Tensor]:
    """Return arrays by the names of a text-book."""
    names = draw.pick(
        (
            ("Waa", "Wax", "Wya", "ba", "by"),
            ("Whh", "Wxh", "Why", "bh", "by"),
            ("Whh", "Wxh", "fc.weight", "bias", "fc.bias"),
        )
    )
    size = draw.pick((4, 3, 2))
    rows = 3 if size == 3 else 2
    shapes = [
        (size, size),
        (size, 3),
        (rows, size),
        draw.pick(((size, 1), (size,), (size, 2))),
        draw.pick(((rows, 1), (rows,))),
    ]
    if draw.once(4):
        shapes = [shape[::-1] for shape in shapes]
    begin = draw.pick(("", "", "model.", "rnn.layers.0."))
    found = {f"{begin}{name}": tensor(draw, *shape, code=code) for name, shape in zip(names, shapes, strict=True)}
    return changed(draw, found)


def _native(draw: Draw, code: str) -> dict[str, Tensor]:
    """Return arrays by the names of this package."""
    found: dict[str, Tensor] = {}
    width = 3
    for layer in range(draw.pick((1, 2))):
        sides = draw.pick((("",), ("", "_reverse"), ("_reverse",)))
        for side in sides:
            shapes = {"weight_ih": (4, width), "weight_hh": (4, 4), "bias": (4,), "leak": (4,)}
            taken = list(shapes.items())[: draw.pick((3, 2, 4))]
            found |= {f"{name}_l{layer}{side}": tensor(draw, *shape, code=code) for name, shape in taken}
            if draw.once(3):
                dense = found.pop(f"weight_hh_l{layer}{side}")
                found |= entries(draw, f"weight_hh_l{layer}{side}", dense)
        width = 4 * len(sides)
    for role, size in (("encoder", 3), ("readout", 2)):
        if draw.once(2):
            number = draw.pick((".", ".0.", ".", ".0.", ".", ".0.", ".", ".1."))
            taken_width = width if role == "readout" else draw.pick((3, 5))
            found |= {
                f"{role}{number}weight": tensor(draw, size, taken_width, code=code),
                f"{role}{number}bias": tensor(draw, size, code=code),
            }
    if draw.once(4):
        found["h_0" if draw.once(2) else "h_0_l0"] = tensor(draw, *draw.pick(((1, 4), (2, 4), (4,))), code=code)
    return changed(draw, found)


def entries(draw: Draw, name: str, dense: Tensor) -> dict[str, Tensor]:
    """Return the arrays of a sparse matrix, or of none: with columns and starts that lead elsewhere, or the dense one beside."""
    (size, _), code = dense.shape, draw.pick(("i4", "i8"))
    counts = [draw.pick((1, 2, 0, 4)) for _ in range(size)]
    columns = [k * 3 % size for k in range(sum(counts))]
    starts = [sum(counts[:row]) for row in range(size + 1)]
    numbers, most = draw.pick((columns, starts)), 2 ** (8 * SIZES[code] - 1)
    if numbers and draw.once(3):
        at = draw.below(len(numbers))
        numbers[at] = draw.pick((-1, size, len(columns) + 1, most - 1, -most, -2, 0, 2**31 - 1))
        if draw.once(2):
            numbers[at - 1] = draw.pick((-2, most - 1, -most, 1))
    parts = {"data": tensor(draw, sum(counts), code=dense.code)}
    for part, held in (("indices", columns), ("indptr", starts)):
        parts[part] = Tensor(code, (len(held),), struct.pack(f"<{len(held)}{'q' if code == 'i8' else 'i'}", *held))
    kind = draw.below(24)
    if kind == 1:
        return {name: dense, **{f"{name}.{part}": held for part, held in parts.items()}}
    if kind == 2:
        cut = draw.pick(list(parts))
        parts[cut] = tensor(draw, *draw.pick(((), (0,), (1,), (2, 2), (1, 4))), code=parts[cut].code)
    elif kind == 3:
        parts[draw.pick(list(parts))] = tensor(draw, sum(counts), code=draw.pick(list(SIZES)))
    elif kind == 4:
        del parts[draw.pick(list(parts))]
    return {f"{name}.{part}": held for part, held in parts.items()}


def changed(draw: Draw, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return arrays with a few of them changed: of another shape, dtype or name, twice, left out, or many."""
    for _ in range(draw.pick((0, 0, 0, 1, 2))):
        if not found:
            break
        name = draw.pick(list(found))
        held, kind = found[name], draw.below(9)
        if kind == 0:
            del found[name]
        elif kind == 1:
            shape = list(held.shape)
            shape[draw.below(len(shape)) : draw.below(3)] = [draw.pick((0, 1, 2, 3, 5)) for _ in range(draw.below(3))]
            found[name] = tensor(draw, *shape, code=held.code)
        elif kind == 2:
            found[name] = tensor(draw, *held.shape, code=draw.pick(list(SIZES)))
        elif kind == 3:
            found[
                draw.pick(
                    (
                        f"{name}x",
                        name.upper(),
                        f"x.{name}",
                        draw.text(),
                        name.replace("l0", "l7"),
                        name.replace(".0.", ".2."),
                        name.replace("weight", "in_proj_weight"),
                    )
                )
            ] = found.pop(name)
        elif kind == 4:
            found[draw.pick(list(found))] = held
        elif kind == 5:
            found = {draw.pick(("model.", "a.b.c.", "ema.")) + each: value for each, value in found.items()}
        elif kind == 6:
            begin = draw.pick(("copy.", "ema_model."))
            found |= {begin + each: value for each, value in found.items()}
        elif kind == 7:
            found = dict(sorted(found.items(), reverse=True))
        else:
            found |= {f"extra{k}.{name.rpartition('.')[2]}": held for k in range(draw.pick((1, 5, 60)))}
    return found
