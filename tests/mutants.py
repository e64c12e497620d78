"""Plant faults in a copy of the package, one at a time; the tests must catch every one.

python tests/mutants.py            # all of them; exit code 1 if one survives
python tests/mutants.py numba:     # those whose names begin so

Numba is needed.  What it compiled is left out of the copy, for it would run on, whatever is changed in the files
that `walk.py` imports.
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
NUMBA_BACKEND = ("--backend", "numba")
CORE = "tests/test_conformance.py tests/test_forward.py tests/test_activations.py tests/test_model.py"


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


NONE = [
    Fault("none", "forward.py", "h @ self.weight_hh.T", "h @ self.weight_hh.T"),
    numba("none", "compiled/walk.py", "t >= lengths", "t >= lengths"),
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
    Fault("in place: inputs a step late", "backends/numpy.py", "np.add(z, inputs[t], out=z)",
          "np.add(z, inputs[t - 1], out=z)"),
    Fault("in place: R transposed", "backends/numpy.py", "np.ascontiguousarray(cell.weight_hh.T)",
          "np.ascontiguousarray(cell.weight_hh)"),
    Fault("in place: the state not held", "backends/numpy.py", "np.copyto(z, h, where=held[t])", "pass"),
    Fault("in place: the state not carried", "backends/numpy.py", "        h = z\n", ""),
    Fault("in place: reverse runs forward", "backends/numpy.py", "reversed(range(seq_len)) if reverse else ", ""),
    Fault("in place: clip after the activation", "backends/numpy.py", "    return changes", "    return changes[::-1]"),
    Fault("in place: h_0 of the first sequence for all", "backends/numpy.py", "h, inputs, outputs = h_0, projected",
          "h, inputs, outputs = h_0[:1], projected"),
    Fault("in place: NaN lost by relu", "backends/numpy.py", "np.maximum(z, 0.0, out=z)", "np.fmax(z, 0.0, out=z)"),
    Fault("readout transposed", "parameters.py", "@ widen(self.weight).T", "@ widen(self.weight.T[:, ::-1])"),
    Fault("bias of the readout dropped", "parameters.py", "logits = logits + widen(self.bias)", "pass"),
    Fault("loss counts padding", "model.py", "None if valid is None else valid[..., 0], logits", "None, logits"),
    Fault("padding classified", "model.py", "return where_valid(ids, None if valid is None else valid[..., 0], -1)",
          "return ids"),
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
    Fault("a stream forgets", "stream.py", "        self._state = h_n", "        _ = h_n", "tests/test_generate.py"),
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
    numba("wrong share of a thread", "numba.py", "(batch * part // count, batch * (part + 1) // count)",
          "(batch * part // count, batch * (part + 1) // count - part)", "::test_shares"),
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
    numba("chains not added up", "compiled/product.py", "parts = values[index :: len(places)]",
          "parts = values[index : index + 1]"),
    numba("the last inputs left out", "compiled/product.py", "        if chains > 1:", "        if chains > 4:"),
    numba("one input for all chains", "compiled/product.py", "builder.add(k, INDEX(offset)), new", "k, new"),
    numba("begins of the first panel", "compiled/product.py", "builder.add(begin_at, column), step", "begin_at, step"),
    numba("begins of the first sequence", "compiled/product.py", "builder.add(begin_at, column), step",
          "builder.add(begin_at, column), INDEX(0)"),
    numba("a fourth sequence is the first", "compiled/product.py", "builder.mul(distance, INDEX(r))",
          "builder.mul(distance, INDEX(r % 3))"),
    numba("two panels are one", "compiled/product.py", "builder.add(p, INDEX(q))", "p"),
    numba("last sequence of a group dropped", "compiled/walk.py", "for r in range(rows):",
          "for r in range(rows - (rows > 1)):"),
    numba("last input of a group dropped", "compiled/walk.py", "for r in range(few):", "for r in range(few - 1):"),
    numba("reverse begins elsewhere", "compiled/walk.py", "(0, row) if reverse", "(row, row) if reverse"),
    numba("reverse runs forward", "compiled/walk.py", "t = seq_len - 1 - step if reverse else step", "t = step"),
    numba("blocks of reverse run forward", "compiled/walk.py", "start = seq_len - done - steps if reverse else done",
          "start = done", "::test_several_blocks_of_time -k float32"),
    numba("held ignored", "compiled/walk.py", "held = lengths.size > 0 and t >= lengths[b + r]", "held = False"),
    numba("lengths off by one", "compiled/walk.py", "t >= lengths", "t > lengths"),
    numba("lengths of the first group", "compiled/walk.py", "lengths[b + r]", "lengths[r]"),
    numba("backward order wrong", "compiled/walk.py", "(at_once - 1) // pair * pair - turn", "at_once - pair - turn"),
    numba("one panel again and again", "compiled/walk.py", "if step % 2 else turn  #", "if step % 2 else 0  #"),
    numba("its own state for the one before", "compiled/walk.py", "multiply(flat, at + back,", "multiply(flat, at,"),
    numba("inputs of the first thread", "compiled/walk.py", "project(x, t * batch + first,", "project(x, t * batch,",
          "::test_several_threads -k float32"),
    numba("all inputs by every thread", "compiled/walk.py", "elif last - first == batch:", "elif batch > 0:",
          "::test_a_part_of_the_sequences_leaves_the_others_alone -k float32"),
    numba("inputs beyond a row", "compiled/walk.py", "range(min(width, size - p * width))", "range(width)",
          "::test_memory_outside_of_the_arrays_is_not_touched -k float32"),
    numba("states beyond a row", "compiled/walk.py", "columns = min(sums.shape[1], size - column)",
          "columns = sums.shape[1]", "::test_memory_outside_of_the_arrays_is_not_touched -k float32"),
    numba("leak exchanged", "compiled/walk.py", "(1 - leak) * flat[at + back + j] + leak * sums[r, j]",
          "leak * flat[at + back + j] + (1 - leak) * sums[r, j]"),
    numba("clip on one side only", "compiled/walk.py", "bounded = -clip if z[i] < -clip else z[i]", "bounded = z[i]"),
    numba("one sequence activated", "compiled/walk.py", "size = rows * sums.shape[1]", "size = sums.shape[1]"),
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
