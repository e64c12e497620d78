"""Plant faults in a copy of the package, one at a time; the tests must catch every one.

python tests/mutants.py            # all of them; exit code 1 if one survives
python tests/mutants.py numba:     # those whose names begin so

Numba and g++ are needed.  What Numba compiled is left out of the copy, for it would run on, whatever is changed in the
files that `walk.py` imports.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
BACKENDS = ("--backend", "numpy", "--backend", "array_api_strict")  # whose arrays are read, and are not
ONNX = "tests/test_onnx_format.py --peer onnx"
HOSTILE = "tests/test_onnx_hostile.py --peer onnx"
IMPORTED = "tests/test_torch_format.py tests/test_hostile_files.py -k not(random)and(not(modules_and_files))"
FLAX = "tests/test_flax_format.py -k not(computes)"
NUMBA_BACKEND = ("--backend", "numba")
CORE = "tests/test_conformance.py tests/test_forward.py tests/test_activations.py tests/test_model.py"

PIECES = "tests/test_pieces.py"


class Fault(NamedTuple):
    """A fault, as the text that it replaces, which must stand in the file once."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str = CORE
    backends: tuple[str, ...] = BACKENDS


def numba(name: str, file: str, right: str, wrong: str, tests: str = "-k float32") -> Fault:
    """Return a fault of the numba backend: a few tests of one dtype, which is compiled in some seconds."""
    tests = f"tests/test_numba.py{'' if tests.startswith('::') else ' '}{tests}"
    return Fault(f"numba: {name}", f"backends/{file}", right, wrong, tests, NUMBA_BACKEND)


def kernel(name: str, file: str, right: str, wrong: str, tests: str = "::test_plans -k two_to_a_row") -> Fault:
    """Return a fault of the GPU kernels, which run in the shim."""
    tests = f"tests/test_kernels.py{tests}" if tests.startswith("::") else tests
    return Fault(f"kernels: {name}", f"backends/kernels/{file}", right, wrong, tests, ("--kernels",))


NONE = [
    Fault("none", "forward.py", "h @ self.weight_hh.T", "h @ self.weight_hh.T"),
    numba("none", "compiled/walk.py", "t >= lengths", "t >= lengths"),
    kernel("none", "block.cu", "t < mine.end[round]", "t < mine.end[round]"),
]
FAULTS = [
    Fault("R transposed", "forward.py", "h @ self.weight_hh.T", "h @ self.weight_hh"),
    Fault("W transposed where I = H", "forward.py", "return x @ self.weight_ih.T",
          "return x @ (self.weight_ih if self.input_size == self.hidden_size else self.weight_ih.T)"),
    Fault("bias dropped", "forward.py", "product if self.bias is None else product + self.bias", "product"),
    Fault("h_0 ignored", "forward.py", "if h_0 is None else h_0[len(final), ...]", "if True else h_0"),
    Fault("h_0 of the first cell for all", "forward.py", "h_0[len(final), ...]", "h_0[0, ...]"),
    Fault("reverse off by one", "forward.py", "reversed(range(seq_len)) if", "reversed(range(seq_len - 1)) if"),
    Fault("reverse runs forward", "forward.py", "reversed(range(seq_len)) if reverse else ", ""),
    Fault("last state of the wrong end", "forward.py", "states[0 if reverse else -1, ...]", "states[-1, ...]"),
    Fault("outputs not zeroed beyond the length", "forward.py",
          "outputs.append(where_valid(states, valid))", "outputs.append(states)"),
    Fault("padded steps computed through", "forward.py",
          "new if valid is None else xp.where(valid[t, ...], new, h)", "new"),
    Fault("lengths off by one", "forward.py", "None] < lengths[None", "None] <= lengths[None"),
    Fault("NaN through a masked product", "forward.py",
          "where_valid(x, valid[..., 0] if is_integer(x) else valid)",
          "x * (valid[..., 0] if is_integer(x) else valid)"),
    Fault("directions in the wrong order", "forward.py", "xp.concat(outputs, axis=-1)",
          "xp.concat(outputs[::-1], axis=-1)"),
    Fault("layer states in the wrong order", "forward.py", "x, xp.stack(final)", "x, xp.stack(final[::-1])"),
    Fault("clip on one side only", "forward.py", "clamp(z, -self.clip, self.clip)", "clamp(z, -1e30, self.clip)"),
    Fault("clip after the activation", "forward.py", "a = self.activate(z)",
          "a = clamp(self.activate(self.recurrent_product(h) + projected), -(self.clip or 1e30), self.clip or 1e30)"),
    Fault("leak exchanged", "forward.py", "(1.0 - self.leak) * h + self.leak * a", "self.leak * h + (1.0 - self.leak) * a"),
    Fault("token ids wrap", "forward.py", "inside = (x >= 0) & (x < self.input_size)", "inside = x < self.input_size"),
    Fault("float16 summed in float16", "arrays.py", "if dtype_name(array) not in HALF:", "if True:"),
    Fault("softmax without max", "activations.py", "return z - array_namespace(z).max(z, axis=-1, keepdims=True)",
          "return z"),
    Fault("sigmoid overflows", "activations.py", "e = xp.exp(xp.where(negative, z, -z))", "e = xp.exp(z)"),
    Fault("NaN lost by relu", "activations.py", "return xp.where(z <= 0, xp.zeros_like(z), z)",
          "return xp.where(z > 0, z, xp.zeros_like(z))"),
    Fault("hard_sigmoid with Keras's slope", "activations.py", "alpha: float = 0.2", "alpha: float = 1 / 6"),
    Fault("in place: inputs dropped", "backends/numpy.py", "        add(z, product, z)\n", "        np.copyto(z, product)\n"),
    Fault("in place: R transposed", "backends/numpy.py", "np.ascontiguousarray(weight.T)",
          "np.ascontiguousarray(weight)"),
    Fault("in place: the state not held", "backends/numpy.py",
          "np.copyto(z, h, where=held[-1 - t if reverse else t])", "pass"),
    Fault("in place: another step's state held", "backends/numpy.py", "where=held[-1 - t if reverse else t]", "where=held[t]"),
    Fault("in place: other steps' states held", "backends/numpy.py", "ending[-1 - t if reverse else t]", "ending[t]",
          "tests/test_numpy_backend.py"),
    Fault("in place: the state not carried", "backends/numpy.py", "        h = z\n", ""),
    Fault("in place: reverse runs forward", "backends/numpy.py", "enumerate(states[::-1] if reverse else states)",
          "enumerate(states)"),
    Fault("in place: clip on one side only", "backends/numpy.py", "np.clip(z, -clip, clip, out=z)",
          "np.minimum(z, clip, out=z)"),
    Fault("in place: h_0 of the first sequence for all", "backends/numpy.py", "    h = h_0\n", "    h = h_0[:1]\n"),
    Fault("in place: the state of the block before lost", "backends/numpy.py", "h = walk(cell, multiply, states[steps], h,",
          "walk(cell, multiply, states[steps], h_0,", "tests/test_numpy_backend.py"),
    Fault("in place: blocks in the wrong order", "backends/numpy.py", "(reversed(starts) if reverse else starts)",
          "starts", "tests/test_numpy_backend.py"),
    Fault("in place: a part of the product left out", "backends/numpy.py", "range(0, size, rows)]",
          "range(0, size - rows, rows)]", "tests/test_numpy_backend.py"),
    Fault("in place: NaN lost by relu", "backends/numpy.py", "np.maximum(z, 0.0, out=out)", "np.fmax(z, 0.0, out=out)"),
    Fault("joined: no bias", "backends/numpy.py", "cell.weight_ih.T, bias[None]]", "cell.weight_ih.T, 0 * bias[None]]"),
    Fault("joined: h_0 ignored", "backends/numpy.py", "rows[0, :size] = h_0[0]", "rows[0, :size] = 0"),
    Fault("joined: reversed but not back", "backends/numpy.py", "h_0)[:: -1 if reverse else 1]", "h_0)"),
    Fault("a cold start writes files", "formats/safetensors.py", "from rnn_backends.formats.native import KEY, pack, unpack, widened\n",
          "from rnn_backends.files import replaced  # noqa: F401\nfrom rnn_backends.formats.native import KEY, pack, unpack, widened\n",
          "tests/test_backends.py::test_a_cold_start_imports_little"),
    Fault("views of arrays that change", "backends/transfer.py",
          "(isinstance(array.base, np.ndarray) and _is_writable(array.base))", "False"),
    Fault("NumPy by array_api_compat", "arrays.py", "        return np\n",
          "        import array_api_compat.numpy\n\n        return array_api_compat.numpy\n",
          "tests/test_backends.py::test_a_cold_start_imports_little"),
    Fault("readout transposed", "parameters.py", "@ widen(self.weight).T", "@ widen(self.weight.T[:, ::-1])"),
    Fault("bias of the readout dropped", "parameters.py", "logits = logits + widen(self.bias)", "pass"),
    Fault("loss counts padding", "pieces.py", "losses, None if piece.valid is None else piece.valid[..., 0]",
          "losses, None"),
    Fault("padding classified", "pieces.py", "ids, None if piece.valid is None else piece.valid[..., 0], -1",
          "ids, None"),
    Fault("in place: a subclass's step ignored", "backends/numpy.py", "type(cell) is not Cell",
          "not isinstance(cell, Cell)"),
    Fault("gradient not averaged", "losses.py", "/ max(prod(targets.shape), 1)", "/ 1"),
    Fault("batch first not swapped back", "model.py", "return self._swap(output), h_n", "return output, h_n"),
    Fault("trace a step late", "trace.py", "[held[1:, ...], start] if reverse else [start, held[:-1, ...]]",
          "[held[1:, ...], start] if reverse else [held[1:, ...], start]"),
    Fault("use_backend beats the owner of arrays", "backends/selection.py", "    if foreign:\n",
          "    if foreign and not _entries.get():\n", "tests/test_backends.py"),
    Fault("the environment beats use_backend", "backends/selection.py", "if held is not None:",
          "if held is not None and not os.environ.get(VARIABLE):", "tests/test_backends.py"),
    Fault("arrays of another device pass", "backends/transfer.py", "    require_device(name, value, place)\n", "",
          "tests/test_backends.py"),
    Fault("transposed weights saved as they lie", "formats/native.py", "np.ascontiguousarray(array) for name",
          "array for name", "tests/test_formats.py"),
    Fault("torch's second bias dropped", "formats/native.py", "read(first) + read(second)", "read(first)",
          "tests/test_formats.py"),
    Fault("ONNX: R transposed", "formats/onnx/node.py", "Cell(w[d], r[d], bias", "Cell(w[d], r[d].T, bias", ONNX),
    Fault("ONNX: the second half of B dropped", "formats/onnx/node.py", "total: Host = first + second", "total: Host = first", ONNX),
    Fault("ONNX: reverse runs forward", "formats/onnx/node.py", '"reverse": (True,)', '"reverse": (False,)', ONNX),
    Fault("ONNX: clip ignored", "formats/onnx/node.py", "found.activations[d], found.clip)", "found.activations[d])", ONNX),
    Fault("ONNX: HardSigmoid with Keras's slope", "formats/onnx/node.py", "float(np.float32(0.2))", "1 / 6", ONNX),
    Fault("ONNX: alpha by direction", "formats/onnx/node.py", "in zip(takers, given", "in zip(range(9), given", ONNX),
    Fault("ONNX: lengths ignored", "formats/onnx/recurrent.py", "_lengths(lengths, seq[0])", "None", ONNX),
    Fault("ONNX: layout of initial_h ignored", "formats/onnx/recurrent.py",
          "axes = (given.axes[1], given.axes[0], given.axes[2]) if found.layout else given.axes", "axes = given.axes", ONNX),
    Fault("ONNX: merged axes in any order", "formats/onnx/recurrent.py",
          "(seq, batch, features) == (below.seq, below.batch, below.features)", "(seq, batch) == (below.seq, below.batch)", ONNX),
    Fault("ONNX: an embedding summed in float32", "formats/onnx/recurrent.py", "= w.astype(np.float64) @ rows.T",
          "= w @ rows.T.astype(w.dtype)", ONNX),
    Fault("ONNX: softmax over any axis", "formats/onnx/readout.py", "place != rank - 1 or ", "", ONNX),
    Fault("ONNX: backward before forward", "formats/onnx/joins.py", "forward is None or backward is None or shared[0]",
          "shared[0]", ONNX),
    Fault("ONNX: the first layer's states for all", "formats/onnx/backend.py", "array[source.start : source.stop]",
          "array[: len(stage.layer.cells)]", ONNX),
    Fault("ONNX: states of layers in any order", "formats/onnx/network.py", "    _require_order(stack)\n", "", ONNX),
    Fault("ONNX: a description believed", "formats/onnx/network.py", "if not same or _single(held", "if False and _single(held", ONNX),
    Fault("ONNX: a zero's sign lost", "formats/onnx/write.py", "np.full_like(b, -0.0)", "np.zeros_like(b)", ONNX),
    Fault("ONNX: h_n in the wrong order", "formats/onnx/write.py", "last.append(final)", "last.insert(0, final)", ONNX),
    Fault("ONNX: external data through links", "formats/onnx/tensors.py", "any(step.is_symlink() for step in steps)", "False",
          HOSTILE),
    Fault("ONNX: data of another length", "formats/onnx/tensors.py", "if held != count or len(filled)", "if len(filled)", HOSTILE),
    Fault("ONNX: fields not counted", "formats/onnx/proto.py", "            self._count(fields=1)\n", "", HOSTILE),
    Fault("bfloat16 widened wrong", "formats/native.py", "<<= 16", "<<= 15", IMPORTED),
    Fault("directions exchanged in a file", "formats/native.py",
          'cells.get(f"l{k}"), cells.get(f"l{k}_reverse")', 'cells.get(f"l{k}_reverse"), cells.get(f"l{k}")', IMPORTED),
    Fault("the rows of an embedding backwards", "formats/native.py", "= w @ e.T", "= w @ e[::-1].T", IMPORTED),
    Fault("an embedding rounded early", "formats/native.py",
          "weight_ih[i : i + step].astype(np.float64), table[k : k + step].astype(np.float64)",
          "weight_ih[i : i + step], table[k : k + step]", IMPORTED),
    Fault("gates pass", "formats/names.py", "if columns and rows % columns == 0 and", "if False and", IMPORTED),
    Fault("several networks taken for one", "formats/names.py", "if len(prefixes) > 1:", "if False:", IMPORTED),
    Fault("several readouts taken for one", "formats/names.py", "if len(owners) > 1:", "if False:", IMPORTED),
    Fault("relu taken for tanh", "formats/torch.py", '"RNN_RELU": "relu"', '"RNN_RELU": "tanh"', IMPORTED),
    Fault("batch_first of a module ignored", "formats/torch.py", "bool(leaf.module.batch_first)", "False", IMPORTED),
    Fault("subclasses of torch's modules pass", "formats/torch.py",
          'owner.__name__ if owner.__module__.partition(".")[0] == "torch" else ""', "owner.__name__", IMPORTED),
    Fault("the order of modules ignored", "formats/torch.py",
          "if order != [leaf for leaf in leaves if leaf in order] or", "if", IMPORTED),
    Fault("a softmax over any axis", "formats/torch.py", "leaf.module.dim != -1", "False", IMPORTED),
    Fault("max_norm ignored", "formats/torch.py", "embedding.module.max_norm is not None", "False", IMPORTED),
    Fault("options told twice", "formats/description.py", "fact is not None and getattr(self, name) is not None", "False",
          IMPORTED),
    Fault("the bias given to torch twice", "formats/torch.py", "np.zeros_like(bias)", "bias.copy()", IMPORTED),
    Fault("clip lost on the way to torch", "formats/torch.py", '("clip", "leak")', '("leak",)', IMPORTED),
    Fault("leak lost on the way to torch", "formats/torch.py", '("clip", "leak")', '("clip",)', IMPORTED),
    Fault("reverse lost on the way to torch", "formats/torch.py", "if sides not in ({(True, False)}, {(True, True)}):",
          "if False:", IMPORTED),
    Fault("arrays shared with to_torch", "formats/torch.py", 'found[f"{prefix}{name}"] = array.copy()',
          'found[f"{prefix}{name}"] = array', IMPORTED),
    Fault("strides ignored", "formats/pt.py", "archive.data, start, strides)", "archive.data, start)", IMPORTED),
    Fault("offsets ignored", "formats/pt.py", " + tensor.offset * stored.itemsize", "", IMPORTED),
    Fault("byte order ignored", "formats/pt.py", "_stored(tensor.storage).newbyteorder(order)",
          "_stored(tensor.storage)", IMPORTED),
    Fault("arrays stay in the file", "formats/pt.py", 'view.astype(stored.newbyteorder("="), order="F")', "view", IMPORTED),
    Fault("sizes of storages not checked", "formats/pt.py", "and found.size != size:", "and False:", IMPORTED),
    Fault("checksums not checked", "formats/pt.py", "if zlib.crc32(view) != found.crc:", "if False:", IMPORTED),
    Fault("members twice", "formats/pt.py", "if len(self.members) != len(infos):", "if False:", IMPORTED),
    Fault("members unknown", "formats/pt.py", 'if name != "data.pkl" and not _MEMBER.fullmatch(name):', "if False:",
          IMPORTED),
    Fault("headers of members not looked at", "formats/pt.py", "if not sound or begin", "if begin", IMPORTED),
    Fault("members past the end", "formats/pt.py", "or begin + info.file_size > self.size:", "or False:", IMPORTED),
    Fault("compressed members", "formats/pt.py", "info.compress_type != zipfile.ZIP_STORED or ", "", IMPORTED),
    Fault("a directory of any size", "formats/pt.py", "if len(found) > MAX_DIRECTORY:", "if False:", IMPORTED),
    Fault("shared storages of any size", "formats/pt.py", "if needed > archive.size + MAX_SHARED:", "if False:", IMPORTED),
    Fault("the first network of several", "formats/pt.py", "if len(found) != 1:", "if not found:", IMPORTED),
    Fault("tensors past their storage", "formats/pickled.py", "0 in shape or last < storage.count", "True", IMPORTED),
    Fault("negative sizes", "formats/pickled.py", "type(number) is int and 0 <= number < MAX_SIZE",
          "type(number) is int and number < MAX_SIZE", IMPORTED),
    Fault("keys of any kind", "formats/pickled.py",
          "type(key) is str or (type(key) is int and abs(key) < MAX_KEY)", "True", IMPORTED),
    Fault("names of any kind", "formats/pickled.py",
          "if name not in _FUNCTIONS and name not in STORAGES:", "if False:", IMPORTED),
    Fault("opcodes without end", "formats/pickled.py", "range(MAX_OPCODES)", "range(10**9)", IMPORTED),
    Fault("the state of any object", "formats/pickled.py", 'type(state) is dict and state.keys() <= {"_metadata"}', "True",
          IMPORTED),
    Fault("lazy negation ignored", "formats/pickled.py", "more in ([{}], [{}, None], [{}, {}])", "True", IMPORTED),
    Fault("one storage of two dtypes", "formats/pickled.py",
          "self.storages.setdefault(key, storage) == storage", "self.storages.setdefault(key, storage)", IMPORTED),
    Fault("kernels not transposed", "formats/flax.py", "host(tree[source.path]).T", "host(tree[source.path])", FLAX),
    Fault("residual ignored", "formats/flax.py", "if source.residual:", "if False:", FLAX),
    Fault("directions of Flax exchanged", "formats/flax.py", 'zip(sides, ("", "_reverse"), strict=True)',
          'zip(sides, ("_reverse", ""), strict=True)', FLAX),
    Fault("bytes that are not the shape's", "formats/msgpack.py", "held != prod(shape) * stored.itemsize or ", "", FLAX),
    Fault("extensions of any kind", "formats/msgpack.py", "if kind != ARRAY:", "if False:", FLAX),
    Fault("names twice", "formats/msgpack.py", "or name in found:", "or False:", FLAX),
    Fault("bytes after the end", "formats/msgpack.py", "if self.at != len(self.data):", "if False:", FLAX),
    Fault("an embedding of any size", "formats/flax.py", "if sizes[0] > sizes[1] + most:", "if False:", FLAX),
    Fault("Flax's batch axis", "formats/flax.py", "told._replace(batch_first=True)", "told", FLAX),
    Fault("an order that leaves out a cell", "formats/flax.py",
          "if unused := set(cells) - set(places.values()):", "if unused := set():", FLAX),
    Fault("the embedding of the forward cell alone", "formats/flax.py",
          'place.removesuffix("_reverse") == "l0"', 'place == "l0"', FLAX),
    Fault("a stream forgets", "stream.py", "        self._states = last", "        _ = last", "tests/test_generate.py"),
    Fault("the temperature is ignored", "sampling.py", "/ self.temperature", "/ 1.0",
          "tests/test_generate.py"),
    Fault("bench: ratios turned over", "commands/benchmark/timing.py", "[other / own for", "[own / other for",
          "tests/test_bench.py"),
    Fault("bench: ratios of other rounds", "commands/benchmark/timing.py", "zip(theirs, seconds[ours], strict=True)",
          "zip(theirs, seconds[ours][::-1], strict=True)", "tests/test_bench.py"),
    Fault("bench: compiling counted", "commands/benchmark/timing.py", "    _seconds(contestant, placed, calls)\n    while",
          "    while", "tests/test_bench.py"),
    Fault("bench: one after another", "commands/benchmark/timing.py", "        random.shuffle(order)\n", "",
          "tests/test_bench.py"),
    Fault("bench: garbage collected meanwhile", "commands/benchmark/timing.py", "    gc.disable()\n", "",
          "tests/test_bench.py"),
    Fault("bench: spinning threads disturb", "commands/benchmark/timing.py", "< IDLE_CHECK_SECONDS / 4", "< 1.0",
          "tests/test_bench.py"),
    Fault("bench: always the same array", "commands/benchmark/problem.py", "[self.x.copy() for _ in range(COPIES)]",
          "[self.x] * COPIES", "tests/test_bench.py"),
    Fault("bench: wrong results timed", "commands/benchmark/contestant.py", "if not error <= 1.0:",
          "if error == float('inf'):", "tests/test_bench.py"),
    Fault("bench: one step checked", "commands/benchmark/contestant.py", "drawn.inputs if drawn.problem.step else ", "",
          "tests/test_bench.py"),
    Fault("bench: one thread whatever is asked", "commands/benchmark/worker.py", "dict.fromkeys(COUNTED, str(threads))",
          "dict.fromkeys(COUNTED, '1')", "tests/test_bench.py"),
    Fault("bench: absence not told", "commands/benchmark/worker.py", "    if absent:\n", "    if not absent:\n",
          "tests/test_bench.py"),
    Fault("pieces: the state not carried", "pieces.py", "states, state = self._run", "states, _ = self._run", PIECES),
    Fault("pieces: h_0 forgotten", "pieces.py", "state = self._h_0\n", "state = None\n", PIECES),
    Fault("pieces: lengths not shifted", "pieces.py", "clamp(lengths - start,", "clamp(lengths,", PIECES),
    Fault("pieces: impossible lengths made possible", "pieces.py", "xp.where(lengths > self.seq_len,",
          "xp.where(lengths < 0,", PIECES),
    Fault("pieces: the last one dropped", "pieces.py", "range(start, max(stop, start + 1), size)",
          "range(start, max(stop - size + 1, start + 1), size)", PIECES),
    Fault("pieces: none for no step", "pieces.py", "max(stop, start + 1)", "stop", PIECES),
    Fault("pieces: backward cells cut", "pieces.py", "return size, sys.maxsize", "pass", PIECES),
    Fault("pieces: joined along the batch", "pieces.py", "concat(parts, axis=self.axis)", "concat(parts, axis=0)", PIECES),
    Fault("pieces: of targets the first", "pieces.py", "cut(targets, start, stop, self.axis)",
          "cut(targets, 0, stop - start, self.axis)", PIECES),
    Fault("pieces: the input moved whole", "pieces.py", 'receive("x", cut(self._x, start, stop, self.axis), rnn._placement, rnn.dtype)',
          'cut(receive("x", self._x, rnn._placement, rnn.dtype), start, stop, self.axis)', PIECES),
    Fault("pieces: as long as the sequence", "pieces.py", "BUDGET // max(1, width * sequences * itemsize)",
          "BUDGET * 2**20", PIECES),
    Fault("pieces: the batch not counted", "pieces.py", "width * sequences * itemsize", "width * itemsize", PIECES),
    Fault("pieces: the states not counted", "pieces.py", "size = min(size, stretch)", "stretch = max(size, stretch)", PIECES),
    Fault("pieces: checked as they come", "checks.py", "range(0, len(steps), block)", "range(0, min(1, len(steps)), block)", PIECES),
    Fault("an id named at its place in its block", "checks.py",
          "place[-1 if batch_first else 0] += start", "pass", PIECES),
    Fault("the first id in time named, not in the array", "checks.py", "min(first)", "first[0]", PIECES),
    Fault("the mean of the first piece", "losses.py", "if len(sums) > 1:", "if False:", PIECES),
    Fault("run: pieces one over the other", "commands/outputs.py", "* self._shape[self._axis] + start)",
          "* self._shape[self._axis])", PIECES),
    Fault("run: sequences one over the other", "commands/outputs.py", "(index * self._shape[self._axis] + start)", "(start)", PIECES),
    Fault("run: the input read whole", "commands/inputs.py", "if path.is_file():", "if False:", PIECES),
    Fault("init ignores the seed", "initial.py", "np.random.default_rng(seed)", "np.random.default_rng(0)"),
    numba("h_0 at the wrong end", "numba.py", "states[-1 if reverse else 0] = h_0", "states[0] = h_0"),
    numba("bias dropped", "numba.py", "if cell.bias is None else np", "if True else np"),
    numba("alpha and beta dropped", "numba.py", "*(0.0 if number is None else number for", "*(0.0 for"),
    numba("clip dropped", "numba.py", "inf if cell.clip is None else cell.clip", "inf"),
    numba("leak dropped", "numba.py", "1.0 if cell.leak is None else cell.leak", "1.0"),
    numba("writable weights kept", "numba.py", "if not any(array.flags.writeable for _, array in named_arrays(cell)):",
          "if True:", "::test_weights_that_can_change_are_read_again -k float32"),
    numba("nothing kept", "numba.py", "if not any(array.flags.writeable for _, array in named_arrays(cell)):",
          "if False:", "::test_what_is_prepared_of_a_model_lives_as_long_as_it -k float32"),
    numba("kept for ever", "numba.py", "= WeakKeyDictionary()", "= {}",
          "::test_what_is_prepared_of_a_model_lives_as_long_as_it -k float32"),
    numba("a subclass's step ignored", "numba.py", "type(cell) is not Cell", "not isinstance(cell, Cell)",
          "::test_a_subclass_of_the_cell_is_declined"),
    numba("large weights on one thread", "numba.py", "config.NUMBA_NUM_THREADS > 1", "False",
          "::test_one_sequence_and_weights_that_no_cache_holds"),
    numba("wrong share of a thread", "numba.py", "list(pairwise([*cuts, batch]))", "list(pairwise([*cuts, cuts[-1] + FEWEST]))", "::test_shares"),
    numba("too many threads", "numba.py", "batch // FEWEST, ", "", "::test_shares"),
    numba("one thread left out", "numba.py", "for part in parts])", "for part in parts[:-1]])",
          "::test_several_threads -k float32"),
    numba("one thread after another", "numba.py", "ThreadPoolExecutor(len(works))", "ThreadPoolExecutor(1)",
          "::test_works_are_done_at_once_and_their_errors_raised"),
    numba("errors of threads lost", "numba.py", "future.result()", "future.exception()",
          "::test_works_are_done_at_once_and_their_errors_raised"),
    numba("panels not filled up with zeros", "compiled/product.py", "padded = np.zeros(", "padded = np.ones(",
          "::test_panels"),
    numba("panels across cache lines", "compiled/product.py", "start = -memory.ctypes.data % VECTOR", "start = 1",
          "::test_panels"),
    numba("a lane too many", "compiled/product.py", 'icmp_signed("<", ir.Constant', 'icmp_signed("<=", ir.Constant',
          "::test_memory_outside_of_the_arrays_is_not_touched -k float32"),
    numba("a lane too few", "compiled/product.py", "INDEX(v * self.lanes))) for v", "INDEX(v * self.lanes + 1))) for v"),
    numba("chains not added up", "compiled/product.py", "self.added(values[index :: len(ends)])", "values[index]"),
    numba("the last inputs left out", "compiled/product.py", "        if chains > 1:", "        if chains > 4:"),
    numba("one input for all chains", "compiled/product.py", "builder.add(k, INDEX(offset)), new", "k, new"),
    numba("begins of the first panel", "compiled/product.py", "builder.add(begin_at, column), begin_step", "begin_at, begin_step"),
    numba("begins of the first sequence", "compiled/product.py", "builder.add(begin_at, column), begin_step",
          "builder.add(begin_at, column), INDEX(0)"),
    numba("a fourth sequence is the first", "compiled/product.py", "builder.mul(distance, INDEX(r))",
          "builder.mul(distance, INDEX(r % 3))"),
    numba("two panels are one", "compiled/product.py", "builder.add(p, INDEX(q))", "p"),
    numba("last sequence not activated", "compiled/walk.py", "(last - first) * size\n                finish",
          "max(1, last - first - 1) * size\n                finish"),
    numba("last inputs dropped", "compiled/walk.py", "while n < first + rows:", "while n < first + rows - 1:"),
    numba("reverse begins elsewhere", "compiled/walk.py", "(0, row) if reverse", "(row, row) if reverse"),
    numba("reverse runs forward", "compiled/walk.py", "t = seq_len - 1 - step if reverse else step", "t = step"),
    numba("blocks of reverse run forward", "compiled/walk.py", "start = seq_len - done - steps if reverse else done",
          "start = done", "::test_several_blocks_of_time -k float32"),
    numba("held ignored", "compiled/walk.py", "at, held = now + b * size, t >= lengths[b]", "at, held = now + b * size, False"),
    numba("lengths off by one", "compiled/walk.py", "t >= lengths", "t > lengths"),
    numba("lengths of the first group", "compiled/walk.py", "t >= lengths[b]", "t >= lengths[first]"),
    numba("backward order wrong", "compiled/walk.py", "(at_once - 1) // pair * pair - turn", "at_once - pair - turn"),
    numba("one panel again and again", "compiled/walk.py", "p = count - at_once - turn if backward else turn", "p = count - at_once - turn if backward else 0"),
    numba("its own state for the one before", "compiled/walk.py", "multiply(flat, at + back,", "multiply(flat, at,"),
    numba("inputs of the first thread", "compiled/walk.py", "project(x, t * batch + first,", "project(x, t * batch,",
          "::test_several_threads -k float32"),
    numba("all inputs by every thread", "compiled/walk.py", "elif last - first == batch:", "elif batch > 0:",
          "::test_a_part_of_the_sequences_leaves_the_others_alone -k float32"),
    numba("states beyond a row", "compiled/product.py", "self.store_lanes(total, place, mask)",
          "builder.store(total, place, align=self.bytes)", "::test_memory_outside_of_the_arrays_is_not_touched -k float32"),
    numba("whole vectors where there are none", "compiled/product.py", "INDEX(len(vectors) * self.lanes))", "INDEX(0))",
          "::test_memory_outside_of_the_arrays_is_not_touched -k float32"),
    numba("leak exchanged", "compiled/walk.py", "kept * flat[before + i] + leak * flat[now + i]",
          "leak * flat[before + i] + kept * flat[now + i]"),
    numba("clip on one side only", "compiled/walk.py", "bounded = -clip if flat[now + i] < -clip else flat[now + i]",
          "bounded = flat[now + i]"),
    numba("not kept on disk", "compiled/walk.py", "cache=True, ", "", "::test_compiled_code_is_kept_on_disk -k float32"),
    numba("a folder must be writable", "compiled/walk.py", "except RuntimeError:", "except ZeroDivisionError:",
          "::test_a_folder_that_cannot_be_written_to"),
    numba("NaN lost by relu", "compiled/activate.py", "return type(z)(0) if z <= 0 else z",
          "return z if z > 0 else type(z)(0)", "::test_activations -k relu-float32"),
    numba("scaled_tanh's numbers exchanged", "compiled/activate.py", "alpha * tanh_(beta * z)", "beta * tanh_(alpha * z)",
          "::test_activations -k scaled_tanh-float32"),
    numba("elu stretched inside", "compiled/activate.py", "alpha * expm1(z)", "expm1(alpha * z)",
          "::test_activations -k elu-float32"),
    numba("softsign without sign", "compiled/activate.py", "(one if z > 0 else -one)", "one",
          "::test_activations -k softsign-float32"),
    numba("sign lost by tanh", "compiled/functions.py", "(float_(x).view(int_) & sign_bit)", "0"),
    numba("small arguments by the formula for large ones", "compiled/functions.py", "float_(0.625)", "float_(0.3)",
          "::test_tanh_is_within_two_units_in_the_last_place -k float32"),
    numba("large arguments by the formula for small ones", "compiled/functions.py", "float_(0.625)", "float_(0.8)",
          "::test_tanh_is_within_two_units_in_the_last_place -k float32"),
    numba("a digit of a coefficient", "compiled/functions.py", "-5.3958461e-2", "-5.3968461e-2",
          "::test_tanh_is_within_two_units_in_the_last_place -k float32"),
    numba("tanh is 1 too early", "compiled/functions.py", "e-6), 9.1,", "e-6), 8.0,",
          "::test_tanh_is_within_two_units_in_the_last_place -k float32"),
    numba("exponentials below the smallest normal number", "compiled/functions.py",
          "power_of_2(half) * power_of_2(int_(k - half))", "power_of_2(k)", "::test_activations -k sigmoid-float32"),
    kernel("no barrier after a step", "block.cu", "      barrier();  // a<t> is complete\n", ""),
    kernel("no barrier after h_0", "block.cu", "  barrier();  // h_0 is there\n", ""),
    kernel("one buffer for two steps", "block.cu", "real* next = h + (step + 1) % 2", "real* next = h + step % 2"),
    kernel("half of shared memory not cleared", "block.cu", "i < 2 * SEQUENCES * COLUMNS", "i < SEQUENCES * COLUMNS"),
    kernel("lengths off by one", "block.cu", "t < mine.end[round]", "t <= mine.end[round]"),
    kernel("inputs of another step", "block.cu", "begin + d + DEPTH, ahead[d]", "begin + d + 1, ahead[d]"),
    kernel("bias dropped", "block.cu", "(inputs[round] + share.bias)", "inputs[round]"),
    kernel("one block of a cluster told", "block.cu", "peer < SLICES", "peer < 1"),
    kernel("blocks of a cluster not awaited", "block.cu", "barrier() { cluster_barrier(); }", "barrier() { block_barrier(); }"),
    kernel("rows that a thread has not", "tile.cu", "slot < ROWS && row < walk.size", "row < walk.size"),
    kernel("columns off by one", "tile.cu", "column < left ?", "column <= left ?",
           "::test_memory_outside_of_the_arrays -k features-block"),
    kernel("lanes that share a row not summed", "tile.cu", "if (half == 0) sums[0] +=", "if (half == 2) sums[0] +="),
    kernel("halves exchanged", "tile.cu", "upper ? sums[k + half] : sums[k],", "upper ? sums[k] : sums[k + half],"),
    kernel("one sequence for all", "tile.cu", "s % PER_ROUND == share.turn", "s == 0"),
    kernel("other weights from shared memory", "tile.cu", "* ROWS + r) * THREADS], x", "* 0 + r) * THREADS], x",
           "::test_plans -k shared_memory"),
    kernel("no waiting for words", "grid.cu", "bits_of(fetched[k]) == UNSET && --tries", "false && --tries"),
    kernel("no barrier after fetching", "grid.cu", "  block_barrier();  // h is complete", "  // h is complete"),
    kernel("one buffer for two turns", "grid.cu", "turn ^= 1", "turn ^= 0"),
    kernel("NaN as it comes", "grid.cu", "a != a ? not_a_number() : a", "a", "::test_a_nan_is_never_taken_for_what_is_not_there_yet"),
    kernel("another share of the batch", "grid.cu", "/ SLICES * sequences_per_block;", "/ SLICES * SEQUENCES;"),
    kernel("words of the wrong step", "grid.cu", "time_of(walk, step - 1)", "time_of(walk, 0)"),
    kernel("held ignored in a grid", "grid.cu", "t < length_of(walk, b) ?", "true ?"),
    kernel("held ignored at a step", "step.cu", "t < length_of(walk, b)", "true", "::test_every_feature -k float32-step"),
    kernel("the state before of another sequence", "step.cu", "previous[i]", "previous[row]",
           "::test_every_feature -k float32-step"),
    kernel("reverse runs forward", "equation.cu", "walk.reverse ? walk.seq_len - 1 - step : step", "step"),
    kernel("ids off by one", "equation.cu", "id >= walk.vocabulary", "id > walk.vocabulary", "::test_ids_that_are_out_of_range"),
    kernel("clip on one side only", "equation.cu", "  z = z < -walk.clip ? -walk.clip : z;\n", "",
           "::test_plans -k whole_in_registers"),
    kernel("leak exchanged", "equation.cu", "(1 - walk.leak) * before + walk.leak * a", "walk.leak * before + (1 - walk.leak) * a"),
    kernel("NaN lost by relu", "equation.cu", "return z <= 0 ? 0 : z;", "return z > 0 ? z : 0;",
           "::TestConformance::test_nan_stays_in_its_sequence"),
    kernel("not rounded to float16", "equation.cu", "a = rounded_to_half(a);", ";",
           "::test_a_walk_in_pieces_is_the_same_walk -k float16"),
    kernel("words that look written", "launch.py", "bits.fill(-1)", "bits.fill(0)"),
    kernel("a grid that does not fit", "launch.py", "if plan.cooperative and not fits(kernel, plan):", "if False:",
           "::test_a_grid_that_does_not_fit_is_not_launched"),
    kernel("the current device", "launch.py", "with h_0.device:", "with cupy.cuda.Device():", "::test_the_device_is_that_of_the_arrays"),
    kernel("strides ignored", "launch.py", "array = cupy.ascontiguousarray(array)\n", "", "::test_layouts_of_the_arguments"),
    kernel("alignment ignored", "launch.py", "if array.data.ptr % array.itemsize == 0", "if True", "::test_layouts_of_the_arguments"),
    kernel("more blocks than the chip holds", "plan.py", "device.multiprocessors // slices)\n        share", "device.multiprocessors)\n        share",
           "tests/test_kernel_plans.py"),
    kernel("a share too small", "plan.py", "share = -(-problem.batch // shares)", "share = problem.batch // shares",
           "tests/test_kernel_plans.py"),
    kernel("shared memory not bounded", "plan.py", "return tile if tile.shared <= device.shared_per_block else None", "return tile",
           "tests/test_kernel_plans.py"),
]  # fmt: skip


def survives(fault: Fault) -> bool:
    """Tell whether the tests pass with a fault planted."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for folder in ("rnn_backends", "tests", "examples"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        file = copy / "rnn_backends" / fault.file
        text = file.read_text(encoding="utf-8")
        if text.count(fault.right) != 1:
            msg = f"{fault.name}: {fault.right!r} stands {text.count(fault.right)} times in {fault.file}, not once"
            raise ValueError(msg)
        file.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")
        options = ("-x", "-q", "-p", "no:cacheprovider", *fault.backends)
        command = [sys.executable, "-m", "pytest", *options, *fault.tests.split()]
        environment = {**os.environ, "PYTHONPATH": str(copy), "CI": "true"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode > 1:  # neither passed nor failed, nor killed by a signal: the tests did not run
        raise RuntimeError(done.stdout + done.stderr)
    return done.returncode == 0


def main() -> int:
    faults = [fault for fault in FAULTS if fault.name.startswith(tuple(sys.argv[1:]) or "")]
    for fault in NONE:
        if any(each.backends == fault.backends for each in faults) and not survives(fault):
            print(f"the tests fail without any fault: {fault.tests}")
            return 1
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        survivors = [fault.name for fault, alive in zip(faults, pool.map(survives, faults), strict=True) if alive]
    for name in survivors:
        print(f"survived: {name}")
    print(f"{len(faults) - len(survivors)} of {len(faults)} planted faults caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
