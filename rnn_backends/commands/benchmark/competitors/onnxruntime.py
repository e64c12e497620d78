"""ONNX Runtime: a model of one RNN node; its session is made once, and its inputs are NumPy arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from rnn_backends.arrays import Host
from rnn_backends.commands.benchmark.contestant import AbsentError, Contestant
from rnn_backends.commands.benchmark.problem import Drawn

FLOAT_DTYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
OPSET, IR_VERSION = 17, 9


def make(drawn: Drawn, threads: int) -> Contestant:
    """Return the contestant."""
    problem = drawn.problem
    if problem.leak is not None:
        msg = "the RNN node has no leak"
        raise AbsentError(msg)
    session = _session(drawn, threads)
    given: dict[str, Any] = {}
    if drawn.lengths is not None:
        given["lengths"] = np.asarray(drawn.lengths, np.int32)
    if problem.step:
        return Contestant("onnxruntime", _step(session, drawn))
    names = ["Y"]

    def call(x: Host) -> Host:
        (y,) = session.run(names, {"x": x, **given})
        return y  # type: ignore[no-any-return]

    return Contestant("onnxruntime", call, _joined)


def _step(session: Any, drawn: Drawn) -> Callable[[Host], Host]:
    names, h = ["Y_h"], np.zeros((1, drawn.problem.batch, drawn.problem.hidden_size), drawn.problem.dtype)

    def step(x: Host) -> Host:
        nonlocal h
        (h,) = session.run(names, {"x": x, "h_0": h})
        return h

    return step


def _joined(y: Host) -> Host:
    """Bring Y, (T, D, B, H), to (T, B, D * H)."""
    return y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1)


def _session(drawn: Drawn, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    try:
        return onnxruntime.InferenceSession(
            model(drawn).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        msg = f"it has no RNN kernel for {drawn.problem.dtype} on the CPU"
        raise AbsentError(msg) from error


def model(drawn: Drawn) -> Any:
    """Return a problem as a model: an RNN node, after a Gather for token ids."""
    problem, directions = drawn.problem, len(drawn.cells)
    kind = FLOAT_DTYPES[problem.dtype]
    w_ih, w_hh, bias = (np.stack(arrays) for arrays in zip(*drawn.weights(), strict=True))
    stored = {"R": w_hh, "B": np.concatenate([bias, np.zeros_like(bias)], axis=1)}
    nodes, features, source = [], [problem.input_size], "x"
    if problem.tokens:
        stored |= {"rows": drawn.token_rows(), "W": np.eye(problem.hidden_size, dtype=problem.dtype)[None]}
        nodes, features, source = [helper.make_node("Gather", ["rows", "x"], ["embedded"])], [], "embedded"
    else:
        stored["W"] = w_ih
    inputs = [source, "W", "R", "B", "lengths" if problem.ragged else "", "h_0" if problem.step else ""]
    direction = "bidirectional" if problem.bidirectional else "forward"
    outputs = ["", "Y_h"] if problem.step else ["Y"]
    nodes.append(
        helper.make_node(
            "RNN",
            inputs,
            outputs,
            hidden_size=problem.hidden_size,
            direction=direction,
            activations=["Tanh"] * directions,
        )
    )
    seq_len = 1 if problem.step else problem.seq_len
    state = [directions, problem.batch, problem.hidden_size]
    given = [("x", TensorProto.INT64 if problem.tokens else kind, [seq_len, problem.batch, *features])]
    given += [("lengths", TensorProto.INT32, [problem.batch])] if problem.ragged else []
    given += [("h_0", kind, state)] if problem.step else []
    made = ("Y_h", kind, state) if problem.step else ("Y", kind, [seq_len, *state])
    graph = helper.make_graph(
        nodes,
        "rnn",
        [helper.make_tensor_value_info(*value) for value in given],
        [helper.make_tensor_value_info(*made)],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
