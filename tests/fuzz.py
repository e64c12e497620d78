"""Load damaged and hostile files: python tests/fuzz.py [COUNT] [SEED].

Each must load or be refused by FormatError, take at most 64 MiB more than the file has, and run nothing.
"""

import importlib.util
import io
import json
import struct
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.formats.content import FORMATS

HERE = Path(__file__).parent
DATA = HERE / "data"
sys.path.append(str(HERE / "support"))
import pt_files  # noqa: E402  # it is in that folder

MEMORY = 64 * 2**20
ABSENT = [name for name in ("onnx", "msgpack") if importlib.util.find_spec(name) is None]
"""Packages for which a file may look that are not there."""
FORBIDDEN = ("exec", "compile", "import", "os.", "subprocess.", "pickle.", "marshal.", "ctypes.", "socket.", "code.")
OPCODES = b"().012FGHIJKLMNPQRSTUVX]abcdeghijlopqrstu}\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c\x93\x94"
PIECES = (
    pt_files.text("weight_ih_l0"), pt_files.text("weight_hh_l0"), pt_files.text("storage"), pt_files.text("0"),
    pt_files.ORDERED_DICT, pt_files.TENSOR, pt_files.PARAMETER, b"ctorch\nFloatStorage\n", b"cos\nsystem\n", b"}", b")",
    pt_files.storage("0", 12), pt_files.storage("1", 16), pt_files.integers(4, 4), pt_files.integers(4, 1), b"q\0", b"h\0",
    pt_files.plain("1", np.ones((4, 4), "f4")), pt_files.integer(-1), pt_files.integer(2**60), b"(", b"t", b"R", b"u", b"s",
)  # fmt: skip


def array_of_msgpack(array: NDArray[Any]) -> bytes:
    """Return an array as flax.serialization.to_bytes has it, for shapes below 128 and up to 65535 bytes."""
    shape = bytes([0x90 + array.ndim, *array.shape])
    data: bytes = b"\xc5" + struct.pack(">H", array.nbytes) + array.tobytes()
    inner = b"\x93" + shape + bytes([0xA0 + len(array.dtype.name)]) + array.dtype.name.encode() + data
    return b"\xc8" + struct.pack(">H", len(inner)) + b"\1" + inner


def flax_file() -> bytes:
    """Return a file of the parameters of one SimpleCell, and a Dense."""
    kernels = [array_of_msgpack(np.full(shape, 0.5, "f4")) for shape in ((3, 4), (4, 4), (4,), (4, 2))]
    cell = b"\x82\xa1i\x82\xa6kernel" + kernels[0] + b"\xa4bias" + kernels[2] + b"\xa1h\x81\xa6kernel" + kernels[1]
    return b"\x81\xa6params\x82\xa4cell" + cell + b"\xa7Dense_0\x81\xa6kernel" + kernels[3]


def sound_files() -> list[tuple[str, bytes]]:
    """Return files that load, with their suffixes."""
    names = ["layers.pt", "checkpoint.pth", "views.pt", "bfloat16.pt", "cell.pth"]
    names += ["tagger.keras", "classifier.keras", "stack.weights.h5", "bfloat16.weights.h5"]
    names += [f"keras2/{name}" for name in ("sigmoids.keras", "a_head.h5", "nested.h5")]
    found = [(Path(name).suffix, (DATA / name).read_bytes()) for name in names]
    if "msgpack" not in ABSENT:
        found.append((".msgpack", flax_file()))
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".safetensors", ".npz", *[".onnx"] * ("onnx" not in ABSENT)):
            path = Path(folder) / f"m{suffix}"
            rb.RNN.init(3, 4, output_size=2).save(path)
            found.append((suffix, path.read_bytes()))
    return found


def mutated(whole: bytes, draw: np.random.Generator) -> bytes:
    """Return bytes with a few changes of one kind."""
    data, kind = bytearray(whole), int(draw.integers(7))
    size = max(len(data), 1)
    at, length = int(draw.integers(size)), int(draw.integers(1, 33))
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        return draw.bytes(int(draw.integers(2000)))
    if kind == 2:
        data[at:at] = draw.bytes(length)
    elif kind == 3:
        del data[at : at + length]
    elif kind == 4:
        other = int(draw.integers(size))
        data[at : at + length] = data[other : other + length]
    else:
        for _ in range(int(draw.integers(1, 9))):
            place = int(draw.integers(len(data))) if data else 0
            data[place : place + 1] = bytes(
                [data[place] ^ 1 << int(draw.integers(8)) if kind == 5 else draw.integers(256)]
            )
    return bytes(data)


def changed_json(text: bytes, draw: np.random.Generator) -> bytes:
    """Return a JSON text with one of its values changed, for one that means something elsewhere or for any."""
    whole = json.loads(text)
    places: list[tuple[Any, Any]] = []
    waiting = [whole]
    while waiting:
        held = waiting.pop()
        items = list(_items(held)) if isinstance(held, (dict, list)) else []
        places += [(held, key) for key, _ in items]
        waiting += [value for _, value in items]
    for _ in range(int(draw.integers(1, 4))):
        holder, key = places[int(draw.integers(len(places)))]
        donor, other = places[int(draw.integers(len(places)))]
        odd: list[Any] = [None, True, 3, -1, 1e300, "", "tanh", [], {}, [[1]], 10**30, "Lambda"]
        # A copy, as text, of what may hold the place itself.
        taken = json.dumps(donor[other]) if draw.integers(2) and other in dict(_items(donor)) else ""
        if key in dict(_items(holder)):
            holder[key] = json.loads(taken) if taken else odd[int(draw.integers(len(odd)))]
    return json.dumps(whole).encode()


def _items(held: Any) -> Any:
    return held.items() if isinstance(held, dict) else enumerate(held)


def with_sound_checksums(whole: bytes, draw: np.random.Generator) -> bytes:
    """Return a zip file with one of its members changed and all of its checksums right."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    target = next((name for name in held if name.endswith(("data.pkl", "config.json"))), None)
    if target is None or draw.integers(4) == 0:
        target = str(draw.choice(list(held)))
    change = changed_json if target == "config.json" and draw.integers(4) else mutated
    held[target] = change(held[target], draw)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, member in held.items():
            archive.writestr(name, member)
    return file.getvalue()


def random_pickle(draw: np.random.Generator) -> bytes:
    """Return a .pt file whose pickle is a row of opcodes that mean something, and of any."""
    parts = []
    for _ in range(int(draw.integers(1, 30))):
        piece = PIECES[int(draw.integers(len(PIECES)))]
        parts.append(
            piece if draw.integers(5) else bytes([draw.choice(list(OPCODES))]) + draw.bytes(int(draw.integers(3)))
        )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, member in pt_files.members(value=b"".join(parts)).items():
            archive.writestr(f"archive/{name}", member)
    return file.getvalue()


def case(sound: list[tuple[str, bytes]], draw: np.random.Generator) -> tuple[str, bytes]:
    """Return a suffix and the bytes of a file that is probably wrong."""
    suffix, whole = sound[int(draw.integers(len(sound)))]
    kind = int(draw.integers(3))
    if kind == 0 and whole.startswith(b"PK"):
        return suffix, with_sound_checksums(whole, draw)
    if kind == 1 and suffix.startswith(".pt"):
        return suffix, random_pickle(draw)
    return suffix, mutated(whole, draw)


def options_of(path: Path) -> dict[str, Any]:
    """Return the options that a file of weights alone does not record."""
    if path.suffix not in {".pt", ".pth", ".msgpack", ".h5"}:
        return {}
    more = {".msgpack": {"residual": False}, ".h5": {"go_backwards": False}}.get(path.suffix, {})
    return {"activation": "tanh", "readout_activation": "identity", **more}


def load(path: Path) -> None:
    """Load a file, without the options that it records, or that are of another format than its content is now."""
    options = options_of(path)
    while True:
        try:
            rb.load(path, **options)
        except (rb.FormatError, rb.ArgumentError) as error:
            left_out = [name for name in options if f"leave `{name}` out" in str(error)]
            if not left_out:
                raise
            options.pop(left_out[0])
        else:
            return


def outcome(path: Path, data: bytes) -> str:
    """Load a file, and tell whether it was loaded or refused; anything else is an error."""
    path.write_bytes(data)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        with watched():
            load(path)
    except rb.FormatError as error:
        said = str(error)
    else:
        said = ""
    assert not said or str(path) in said, f"{said} names no file"
    assert "\n" not in said, f"{said} has several lines"
    assert len(said) < 1000, f"{said} is long"
    taken = tracemalloc.get_traced_memory()[1] - before
    assert taken <= len(data) + MEMORY, f"{taken} bytes of memory were taken for {len(data)}"
    return "refused" if said else "loaded"


_watching = False


def forbid() -> None:
    """Stop at the first sign that something is run while a file is loaded; this cannot be undone."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        is_absent = event == "import" and arguments[0] in ABSENT
        if _watching and event.startswith(FORBIDDEN) and not is_absent:
            msg = f"{event} {arguments!r} happened"
            raise SystemExit(msg)

    sys.addaudithook(hook)


@contextmanager
def watched() -> Iterator[None]:
    """Have what `forbid` looks for looked for."""
    global _watching  # noqa: PLW0603  # as the hook is the process's
    _watching = True
    try:
        yield
    finally:
        _watching = False


def run(count: int, seed: int, folder: Path) -> Counter[tuple[str, str]]:
    """Load so many files, and count what became of them."""
    sound, found = sound_files(), Counter[tuple[str, str]]()
    tracemalloc.start()
    try:
        for index in range(count):
            draw = np.random.default_rng([seed, index])
            suffix, data = case(sound, draw)
            path = folder / f"case{suffix}"
            try:
                found[suffix, outcome(path, data)] += 1
            except Exception:
                print(f"case {index} of seed {seed}", file=sys.stderr)
                raise
    finally:
        tracemalloc.stop()
    return found


def main() -> None:
    count, seed = map(int, [*sys.argv[1:], *("10000", "0")[len(sys.argv) - 1 :]])
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("rnn_backends.core.near", *(f"rnn_backends.formats.{name}" for name in FORMATS)):
            importlib.import_module(name)  # the former for suggestions in messages
        run(200, 2**32, Path(folder))  # what else is imported when it is needed is imported now
        forbid()
        for (suffix, result), number in sorted(run(count, seed, Path(folder)).items()):
            print(f"{suffix:14}{result:10}{number:10}")


if __name__ == "__main__":
    main()
