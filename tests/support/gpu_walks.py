"""Layers that a kernel of the GPU walks through time, behind the stand-in for CuPy, against the float64 reference.

The stand-in must be installed; its `RawKernel.run` says what runs the kernel.
"""

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any

import ml_dtypes  # noqa: F401  # gives NumPy bfloat16
import numpy as np
import standin

import rnn_backends as rb
from rnn_backends.backends.cuda_kernels.plan import PLANS, REGIMES, Plan
from rnn_backends.backends.cuda_kernels.tile import Device, Problem
from rnn_backends.core.arrays import HALF
from rnn_backends.testing import Case, excess, reference
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.conformance import flat

SMALL = Device(90, 12, 232448, 233472, 2048, cooperative=True)  # what the stand-in says of itself

PROBLEMS: dict[str, tuple[tuple[int, int, int, int], str, dict[str, Any]]] = {
    "tiny": ((6, 3, 4, 5), "float32", {}),
    "two_to_a_row": ((5, 9, 3, 37), "float32", {"leak": 0.25}),
    "whole_in_registers": ((5, 5, 9, 210), "float32", {"clip": 0.5}),
    "shared_memory": ((4, 9, 5, 253), "float32", {"bias": False}),
    "no_power_of_two": ((4, 3, 60, 286), "float32", {}),
    "whole_vectors": ((5, 5, 130, 64), "float32", {}),
    "wide": ((3, 6, 4, 390), "float32", {"activation": "relu"}),
    "half": ((6, 5, 70, 45), "float16", {"leak": 0.5}),
    "widest": ((3, 3, 4, 405), "float64", {}),
    "brain": ((6, 5, 7, 33), "bfloat16", {"clip": 0.75}),
    "two_columns": ((5, 7, 100, 70), "float64", {"activation": "softsign"}),
    "wide_float64": ((4, 5, 5, 140), "float64", {"clip": 0.5, "leak": 0.75}),
    "tensor": ((5, 19, 7, 88), "float16", {"leak": 0.5}),
    "tensor_parts": ((3, 18, 5, 272), "bfloat16", {"clip": 0.75, "bias": False}),
    "tensor_wide": ((3, 5, 4, 584), "float16", {"clip": 0.75, "leak": 0.25}),
    "tensor_ids": ((4, 35, 9, 96), "bfloat16", {"activation": "softsign"}),
}


def module(name: str) -> Any:
    """Return a module that launches kernels, as it was imported with the stand-in."""
    return importlib.import_module(f"rnn_backends.backends.cuda_kernels.{name}")


def launch() -> Any:
    return module("launch")


def arrays(*hosts: Any) -> list[Any]:
    return [None if host is None else standin.asarray(host) for host in hosts]


def on_device(cell: rb.Cell) -> rb.Cell:
    """Return a cell as the backend has it when it walks: in float32 where the states take 16 bits."""
    hosts = (cell.weight_ih, cell.weight_hh, cell.bias)
    wide = (host if host is None or host.itemsize > 2 else host.astype(np.float32) for host in hosts)
    weight_ih, weight_hh, bias = arrays(*wide)
    return dataclasses.replace(cell, weight_ih=weight_ih, weight_hh=weight_hh, bias=bias)


def known(host: Any) -> Any:
    """Return bfloat16, which NumPy does not know, as float32."""
    return host.astype(np.float32) if host.dtype.name == "bfloat16" else host


def wrong(found: Any, cells: Sequence[rb.Cell], x: Any, h_0: Any, lengths: Any = None, reverse: bool = False) -> float:
    """Return the largest error of states and last states in units of the bound; beyond a length states must be 0."""
    ends = [len(x)] * x.shape[1] if lengths is None else list(lengths)
    layer = rb.Layer(backward=cells[0]) if reverse else rb.Layer(*cells)
    states, *last = (known(part.get()) for part in (found[0], *found[1]))
    output, h_n = reference([layer], known(x), known(h_0), ends, dtype=h_0.dtype.name)
    beyond = np.arange(len(x))[:, None] >= np.array(ends)
    if states[beyond].any():
        return float("inf")
    return max(excess(states, output), excess(np.stack(last), h_n))


def worst(case: Case, dtype: str) -> float:
    """Return the largest error of a call of a network in units of the bound."""
    found = rb.RNN(case.layers).to("cupy:1", dtype)(case.x, case.h_0, lengths=case.lengths, mask=case.mask)
    results = zip(flat(found), flat(reference(*case, dtype=dtype)), strict=True)
    return max(excess(rb.to_numpy(actual), wanted) for actual, wanted in results)


def drawn(name: str, tokens: bool, directions: int = 1) -> tuple[list[rb.Cell], Any, Any]:
    (seq_len, batch, input_size, hidden_size), dtype, options = PROBLEMS[name]
    draw = Draw(dtype, 0)
    cells = [draw.cell(input_size, hidden_size, **options) for _ in range(directions)]
    h_0 = draw.normal(directions, batch, hidden_size, scale=0.5)
    x = draw.random.integers(0, input_size, (seq_len, batch)) if tokens else draw.normal(seq_len, batch, input_size)
    return cells, x if tokens else x.astype(dtype), h_0.astype(dtype)  # bfloat16 is drawn as float32


def walked(plan: Plan, cells: Sequence[rb.Cell], x: Any, h_0: Any, lengths: Any = None, reverse: bool = False) -> Any:
    """Return states and last states by a plan."""
    placed, ends = arrays(x, lengths)
    return by(plan, [on_device(cell) for cell in cells], placed, arrays(*h_0), ends, reverse)


def by(plan: Plan, cells: Sequence[rb.Cell], x: Any, h_0: Any, lengths: Any = None, reverse: bool = False) -> Any:
    """Return the same of arguments that are on the device."""
    walk = launch().Walk(cells, x, h_0[0], reverse)
    return walk.run(
        walk.choices.prepare(plan, *x.shape[:2], lengths is not None and lengths.dtype == np.int64), x, h_0, lengths
    )


def plans_of(name: str, directions: int = 1, tokens: bool = False) -> list[Plan]:
    (seq_len, batch, input_size, hidden_size), dtype, _ = PROBLEMS[name]
    itemsize, half = 8 if dtype == "float64" else 4, dtype in HALF
    problem = Problem(seq_len, batch, 0 if tokens else input_size, hidden_size, itemsize, directions, half)
    return [plan for regime in REGIMES for plan in PLANS[regime](problem, SMALL)]


def sampled(name: str) -> tuple[int, bool, list[Plan]]:
    """Return directions, whether the input is of ids, and of each kind of plan two, others for each problem."""
    number = list(PROBLEMS).index(name)
    directions, tokens = 1 + number % 2, name in {"tiny", "tensor_ids"}
    kinds: dict[Any, list[Plan]] = {}
    for plan in plans_of(name, directions, tokens):
        kinds.setdefault((plan.regime, plan["FUSED"], plan.on_tensor_cores), []).append(plan)
    most = kinds.get(("grid", 0, False), [])[-1:]  # of all grids that which does the most in a block
    chosen = [plans[(5 * number + half * len(plans) // 2) % len(plans)] for plans in kinds.values() for half in (0, 1)]
    return directions, tokens, [*dict.fromkeys(chosen), *most]


def run(cells: Sequence[rb.Cell], x: Any, h_0: Any, lengths: Any = None) -> Any:
    """Walk through a layer as a model does: by the kernel that is chosen."""
    layer = rb.Layer(*(on_device(cell) for cell in cells))
    return launch().recurrence(layer, *arrays(x), arrays(*h_0), *arrays(lengths))
