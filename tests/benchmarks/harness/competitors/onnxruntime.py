"""ONNX Runtime: a model of one RNN node; its session is made once, and its inputs are NumPy arrays."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from harness.contestant import AbsentError, Contestant
from harness.problem import Drawn
from rnn_backends.core.arrays import Host

FLOAT_DTYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
OPSET, IR_VERSION = 17, 9  # an ONNX Runtime of 2023 takes them, too

Values: TypeAlias = dict[str, tuple[int, list[int]]]


def make(drawn: Drawn, threads: int) -> Contestant:
    """Return the contestant."""
    problem = drawn.problem
    if problem.leak is not None:
        msg = "the RNN node has no leak"
        raise AbsentError(msg)
    call = _session(drawn, threads).run
    if problem.step:
        return Contestant("onnxruntime", _step(call, drawn))
    lengths = {} if drawn.lengths is None else {"lengths": np.asarray(drawn.lengths, np.int32)}
    names = ["Y"]
    return Contestant("onnxruntime", lambda x: call(names, {"x": x, **lengths})[0], _joined)


def _step(call: Callable[..., Any], drawn: Drawn) -> Callable[[Host], Any]:
    names, h = ["Y_h"], np.zeros((1, drawn.problem.batch, drawn.problem.hidden_size), drawn.problem.dtype)

    def step(x: Host) -> Any:
        nonlocal h
        (h,) = call(names, {"x": x, "h_0": h})
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
    problem, kind, directions = drawn.problem, FLOAT_DTYPES[drawn.problem.dtype], len(drawn.cells)
    seq_len = 1 if problem.step else problem.seq_len
    state = [directions, problem.batch, problem.hidden_size]
    given = {"x": (kind, [seq_len, problem.batch, problem.input_size])}
    stored, nodes = _stored(drawn), []
    if problem.tokens:
        given["x"] = (TensorProto.INT64, [seq_len, problem.batch])
        stored["rows"] = drawn.token_rows
        nodes.append(helper.make_node("Gather", ["rows", "x"], ["embedded"]))
    if problem.ragged:
        given["lengths"] = (TensorProto.INT32, [problem.batch])
    if problem.step:
        given["h_0"] = (kind, state)
    inputs = ["embedded" if problem.tokens else "x", "W", "R", "B"]
    inputs += [name if name in given else "" for name in ("lengths", "h_0")]
    options = {"hidden_size": problem.hidden_size, "activations": ["Tanh"] * directions}
    direction = "bidirectional" if problem.bidirectional else "forward"
    made = {"Y_h": (kind, state)} if problem.step else {"Y": (kind, [seq_len, *state])}
    outputs = ["", "Y_h"] if problem.step else ["Y"]
    nodes.append(helper.make_node("RNN", inputs, outputs, direction=direction, **options))
    return as_model(nodes, given, made, stored)


def as_model(nodes: list[Any], given: Values, made: Values, stored: dict[str, Host]) -> Any:
    """Return nodes as a model of the given inputs, outputs and weights."""
    graph = helper.make_graph(
        nodes,
        "rnn",
        [helper.make_tensor_value_info(name, *value) for name, value in given.items()],
        [helper.make_tensor_value_info(name, *value) for name, value in made.items()],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _stored(drawn: Drawn) -> dict[str, Host]:
    """Return W, R and B of the RNN node."""
    w_ih, w_hh, bias = (np.stack(arrays) for arrays in zip(*drawn.feature_weights(), strict=True))
    return {"W": w_ih, "R": w_hh, "B": np.concatenate([bias, np.zeros_like(bias)], axis=1)}
