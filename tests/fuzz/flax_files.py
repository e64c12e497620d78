"""Files of flax.serialization.to_bytes: maps of MessagePack, and arrays as extensions."""

import struct
from typing import Any

from fuzz import jsons, weights
from fuzz.cases import Case, options
from fuzz.draws import Draw, damaged
from fuzz.weights import Tensor

_NAMES = {
    "f4": "float32",
    "f2": "float16",
    "f8": "float64",
    "bf16": "bfloat16",
    "i8": "int64",
    "i4": "int32",
    "u1": "uint8",
    "i1": "int8",
    "b1": "bool",
    "c8": "complex64",
}


def packed(draw: Draw, held: Any) -> bytes:
    """Return a value in MessagePack, by one of the forms that it can have."""
    if isinstance(held, Tensor):
        return _array(draw, held)
    if isinstance(held, dict):
        count = len(held) if draw.below(60) != 59 else draw.pick((0, 1, 15, 2**16, 2**32 - 1))
        head = (
            bytes([0x80 | count])
            if count < 16
            else b"\xde" + struct.pack(">H", count)
            if count < 2**16
            else b"\xdf" + struct.pack(">I", count)
        )
        return head + b"".join(packed(draw, key) + packed(draw, value) for key, value in held.items())
    if isinstance(held, (list, tuple)):
        count = len(held)
        head = bytes([0x90 | count]) if count < 16 else b"\xdc" + struct.pack(">H", count)
        return head + b"".join(packed(draw, value) for value in held)
    if isinstance(held, str):
        data = held.encode("utf-8", "surrogatepass")
        form = draw.below(16)
        if len(data) < 32 and form < 13:
            return bytes([0xA0 | len(data)]) + data
        if len(data) < 256 and form < 14:
            return b"\xd9" + bytes([len(data)]) + data
        return (
            b"\xda" + struct.pack(">H", len(data)) + data
            if form < 15
            else b"\xdb" + struct.pack(">I", len(data)) + data
        )
    if isinstance(held, bytes):
        return held
    if held is None or isinstance(held, bool):
        return {None: b"\xc0", True: b"\xc3", False: b"\xc2"}[held]
    if isinstance(held, float):
        return b"\xcb" + struct.pack(">d", held)
    if 0 <= held < 128:
        return bytes([held])
    if 0 <= held < 2**64:
        return b"\xcf" + struct.pack(">Q", held)
    return b"\xd3" + struct.pack(">q", max(held, -(2**63))) if held < 0 else b"\xc1"


def _array(draw: Draw, held: Tensor) -> bytes:
    """Return an array: an extension of its shape, dtype and bytes."""
    shape: list[Any] = list(held.shape)
    name, data, code, count = _NAMES[held.code], held.data, 1, 3
    kind = draw.below(40)
    if kind == 1:
        shape = [draw.number() for _ in range(draw.below(4))]
    elif kind == 2:
        name = draw.pick((*_NAMES.values(), "float128", "", "object"))
    elif kind == 3:
        code = draw.pick((2, 3, 4, 0, 255))
    elif kind == 4:
        data = data[: draw.below(len(data) + 1)]
    elif kind == 5:
        count = draw.below(6)
    elif kind == 6:
        shape = draw.pick(([], [0, 2**62], [1] * 40, [True], ["a"], [1.5]))
    binary = b"\xc4" + bytes([len(data)]) if len(data) < 256 else b"\xc5" + struct.pack(">H", min(len(data), 65535))
    inner = bytes([0x90 | count]) + packed(Draw(b""), shape) + packed(Draw(b""), name) + binary + data
    size = len(inner) if kind != 7 else draw.number() % 2**16
    if kind == 8:
        return draw.pick((b"\xd4", b"\xd5", b"\xd6", b"\xd7", b"\xd8")) + bytes([code]) + inner[:16]
    if kind == 9:
        return b"\xc9" + struct.pack(">I", size) + bytes([code]) + inner
    return (
        b"\xc7" + bytes([size, code]) + inner
        if size < 256
        else b"\xc8" + struct.pack(">H", size & 0xFFFF) + bytes([code]) + inner
    )


def _cell(draw: Draw, width: int, size: int) -> dict[str, Any]:
    """Return the parameters of a cell of linen, of nnx, or with gates."""
    code = draw.pick(("f4", "f4", "f2", "bf16", "f8"))
    i, h = draw.pick((("i", "h"), ("i", "h"), ("dense_i", "dense_h"), ("ir", "hr")))
    found: dict[str, Any] = {
        i: {"kernel": weights.tensor(draw, width, size, code=code), "bias": weights.tensor(draw, size, code=code)},
        h: {"kernel": weights.tensor(draw, size, size, code=code)},
    }
    if draw.once(8):
        found[h]["bias"] = weights.tensor(draw, size, code=code)
    if draw.once(8):
        del found[i]["bias"]
    return found


def tree(draw: Draw) -> dict[str, Any]:
    """Return the parameters of a network."""
    found: dict[str, Any] = {}
    width = 3
    for number in range(draw.pick((0, 0, 0, 1, 0, 0, 0, 2))):
        found[f"Embed_{number}"] = {"embedding": weights.tensor(draw, 5, width)}
    for number in range(draw.pick((0, 0, 0, 1, 2))):
        found[f"Dense_in{number}"] = _dense(draw, width, 3)
    both = draw.once(6)
    for number in range(draw.pick((1, 1, 1, 2, 3))):
        size, name = draw.pick((4, 3)), draw.pick((f"SimpleCell_{number}", f"cell{number}", f"RNN_{number}"))
        if both:
            found[name] = {side: {"cell": _cell(draw, width, size)} for side in ("forward_rnn", "backward_rnn")}
        elif draw.once(8):
            own = {"w": weights.tensor(draw, width, size), "b": weights.tensor(draw, size)}
            found["vanilla_rnn"] = {
                "linear": own,
                "linear_1": {"w": weights.tensor(draw, size, size), "b": weights.tensor(draw, size)},
            }
        else:
            found[name] = _cell(draw, width, size)
        width = size * (2 if both else 1)
    for number in range(draw.pick((0, 1, 1, 2, 3))):
        size = draw.pick((2, 3, 4))
        found[f"Dense_{number}"] = _dense(draw, width, size)
        width = size
        if draw.once(8):
            found[f"BatchNorm_{number}"] = {"scale": weights.tensor(draw, width), "bias": weights.tensor(draw, width)}
    return found


def _dense(draw: Draw, width: int, size: int) -> dict[str, Any]:
    found = {"kernel": weights.tensor(draw, width, size), "bias": weights.tensor(draw, size)}
    kind = draw.below(24)
    if kind < 4:
        del found["bias"]
    elif kind == 5:
        found["kernel"] = weights.tensor(draw, *draw.pick(((3, width, size), (size,))))
    if draw.once(20):
        found["w"] = found["kernel"]
    if draw.once(20):
        found = {"w": found.pop("kernel"), "b": weights.tensor(draw, size)}
    return found


def generate(draw: Draw) -> Case:
    held: dict[str, Any] = tree(draw)
    kind = draw.below(9)
    names = [f"{a}/{b}" for a, part in held.items() if isinstance(part, dict) for b in part]
    if kind == 0:
        held = {"params": held}
    elif kind == 1:
        held = {
            "params": held,
            "batch_stats": {"BatchNorm_0": {"mean": weights.tensor(draw, 3), "var": weights.tensor(draw, 3)}},
        }
    elif kind == 2:
        held = {
            "step": 5,
            "params": held,
            "opt_state": {"0": {"mu": tree(draw), "count": weights.tensor(draw, code="i4")}, "1": {}},
        }
    elif kind == 3:
        held = {"params": {"params": held}, "ema": held}
    elif kind == 4:
        held = {"params": held, draw.pick(("carry", "cache", "target")): tree(draw)}
    elif kind == 5:
        held = {"a": held, "b": tree(draw)}
    elif kind == 6:
        held = {f"{a}/{b}": value for a, part in held.items() if isinstance(part, dict) for b, value in part.items()}
    if draw.once(3):
        held = jsons.changed(draw, _loose(held))
    if isinstance(held, dict) and draw.once(20):
        held = {**held, **draw.pick((
            {"a/b": weights.tensor(draw, 2), "a": {"b": weights.tensor(draw, 2)}}, {"h0": weights.tensor(draw, 4)}, {"init": {"carry": weights.tensor(draw, 1, 4)}},
            {"x" * 900: {"y" * 900: {"z" * 900: {"a": weights.tensor(draw, 2)}}}}, {"ids": weights.tensor(draw, 4, code="i4")},
            {"x" * 2000: 1},
        ))}  # fmt: skip
    if isinstance(held, dict) and draw.once(40):
        held = {"deep": draw.pick((b"\x81\xa1a" * 20, b"\x81\xa1a" * 300, b"\x91" * 900)) + b"\xc0", **held}
    whole = packed(draw, held)
    given: dict[str, Any] = {"activation": "tanh", "residual": draw.once(5), "readout_activation": "identity"}
    given = options(draw, "flax", names, given)
    if "key" in given and draw.once(2):
        given["key"] = given["key"][0]
    if draw.once(6):
        cells = (
            [name for name, part in held.items() if isinstance(part, dict) and "i" in part]
            if isinstance(held, dict)
            else []
        )
        given["layers"] = draw.pick((cells, cells, cells, cells, [(None, None)], [*cells, 5]))
    return Case(".msgpack", damaged(draw, whole) if draw.once(10) else whole, given)


def _loose(held: Any) -> Any:
    """Return a copy whose maps are no part of each other."""
    return {key: _loose(value) for key, value in held.items()} if isinstance(held, dict) else held
