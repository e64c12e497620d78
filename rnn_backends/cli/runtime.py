"""An .onnx file run by ONNX Runtime and by this package, on the same random input."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from rnn_backends.backends.selection import parse
from rnn_backends.cli.reports import one_line
from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import short, shown
from rnn_backends.errors import DTypeError, WrongResultError
from rnn_backends.formats.onnx import read_program
from rnn_backends.formats.onnx.flow import Flow, Input, takes_tokens
from rnn_backends.formats.onnx.network import Program
from rnn_backends.formats.source import Source
from rnn_backends.model.program import run_program

SEQ_LEN, BATCH = 8, 3
# Both round alike, if in another order, so their errors grow alike; wrong weights are off by far more.
FACTOR = 64
_REFUSALS = ("Fail", "InvalidArgument", "InvalidGraph", "NotImplemented", "RuntimeException")


def compare(source: Source, name: str) -> str:
    """Return by how much ONNX Runtime's results differ from ours, or why it was not asked.

    They are right if they are no further from what we compute in float64 than `FACTOR` times what is right to
    rounding: our own results in the dtype of the file, or its unit roundoff.

    Parameters
    ----------
    source : Source
        An .onnx file that `rnn_backends.load` reads, so that nothing but RNNs and their readouts is in it.
    name : str
        Its name.

    Raises
    ------
    WrongResultError
        They are wrong, or ours are.
    """
    try:
        runtime: Any = import_module("onnxruntime")
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        return f"is not installed, so {name} was not run by it"
    data = source.read(0, source.size, "the file")
    program = read_program(source)
    refusals = tuple(getattr(runtime.capi.onnxruntime_pybind11_state, kind) for kind in _REFUSALS)
    try:
        inputs = random_inputs(program)
        theirs = _run(runtime, data, list(program.outputs), inputs)
    except (DTypeError, *refusals) as error:
        return f"{runtime.__version__} cannot run {name}: {short(RuntimeError(one_line(error)))}"
    ours = run_program(program, inputs, parse("numpy", "the default"))
    exact = run_program(program, inputs, parse("numpy", "the default"), "float64")
    difference = max(map(_difference, zip(program.outputs, theirs, ours, exact, strict=True)), default=0.0)
    return f"{runtime.__version__} runs {name}: it differs by at most {difference:.2g}"


def _run(runtime: Any, data: bytes, outputs: list[str], inputs: dict[str, Host]) -> list[Host]:
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found: list[Host] = session.run(outputs, inputs)
    return found


def random_inputs(program: Program) -> dict[str, Host]:
    """Draw all inputs of a graph: x, or token ids, and lengths and initial states where it takes them."""
    draw, bottom, x = np.random.default_rng(0), program.stages[0], program.input
    input_size: Any = program.network.input_size
    states: list[Input] = [flow.content for stage in program.stages for flow in stage.h_0 if isinstance(flow, Flow)]
    seq_len, batch = bottom.seq.size or SEQ_LEN, _batch(program, states)
    sizes = {bottom.seq: seq_len, **dict.fromkeys(bottom.batch, batch)}
    shape = [sizes.get(axis, input_size) for axis in x.atoms]
    found = {}
    if takes_tokens(bottom.below):
        found[x.name] = draw.integers(0, input_size, shape).astype(x.dtype)
    else:
        found[x.name] = _normal(draw, shape, x)
    if bottom.lengths is not None:
        found[bottom.lengths.name] = draw.integers(1, seq_len + 1, batch).astype(bottom.lengths.dtype)
    for state in states:
        cells = max(each.stop or each.atoms[0].size or 0 for each in states if each.name == state.name)
        rest = [axis.size or batch for axis in state.atoms[1:]]
        found[state.name] = _normal(draw, [cells, *rest], state)
    return found


def _batch(program: Program, states: Sequence[Input]) -> int:
    """Return the number of sequences: that of an input that states it, else `BATCH`."""
    bottom = program.stages[0]
    axes = [*bottom.batch, *(bottom.lengths.atoms if bottom.lengths is not None else ())]
    axes += [axis for state in states for axis in state.atoms[1:-1]]
    return next((axis.size for axis in axes if axis.size), BATCH)


def _normal(draw: np.random.Generator, shape: Sequence[int], source: Input) -> Host:
    if source.dtype == "bfloat16":
        msg = f"its input {shown(source.name)} is bfloat16, which NumPy has not."
        raise DTypeError(msg)
    return draw.standard_normal(shape).astype(source.dtype)


def _difference(results: tuple[str, Host, Host, Host]) -> float:
    """Return the largest difference between their and our results, if it is one that rounding makes."""
    name, theirs, ours, exact = results
    roundoff = float(np.finfo(theirs.dtype).eps) / 2
    theirs, ours = (np.asarray(held, np.float64) for held in (theirs, ours))
    unlike = ~((theirs == ours) | (np.isnan(theirs) & np.isnan(ours)))
    with np.errstate(all="ignore"):
        own, other, difference = (
            float(np.abs(one - two).max(initial=0.0, where=unlike))
            for one, two in ((ours, exact), (theirs, exact), (theirs, ours))
        )
    allowed = FACTOR * max(own, roundoff * max(1.0, float(np.abs(exact).max(initial=0.0, where=unlike))))
    if not other <= allowed:
        msg = (
            f"ONNX Runtime computes another {shown(name)} of this graph than this package: {difference:.2g} "
            f"apart, where rounding explains {allowed:.2g}. docs/onnx.md lists where ONNX Runtime leaves the "
            "specification; if that is it, use rnn_backends.load(IN).save(OUT)."
        )
        raise WrongResultError(msg)
    return difference
