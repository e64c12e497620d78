"""Write the ONNX files of this folder, as torch's exporters make them, and what torch computes for their inputs.

python tests/data/make_onnx.py            # needs torch, onnx, onnxscript and onnxruntime
"""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

HERE = Path(__file__).parent
DYNAMIC = {"x": {0: "steps", 1: "batch"}}
BATCH_FIRST = {"x": {0: "batch", 1: "steps"}}


def contractive(module: nn.Module) -> nn.Module:
    """The module with rows of abs(W_hh) that sum to 0.8: errors do not grow with time."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "weight_hh" in name:
                parameter.mul_(0.8 / parameter.abs().sum(dim=1, keepdim=True))
    return module.eval()


class Net(nn.Module):  # type: ignore[misc]  # torch is not looked into
    """An RNN, what comes before and after it, and which of its results are given."""

    def __init__(self, give: Callable[..., Any], *, before: nn.Module | None = None, **options: Any) -> None:
        super().__init__()
        self.give, self.before = give, before
        self.rnn = nn.RNN(4, 5, **options)
        self.readout = nn.Linear(10 if options.get("bidirectional") else 5, 3)

    def forward(self, x: Any, h_0: Any = None) -> Any:
        x = x if self.before is None else self.before(x)
        return self.give(self.readout, *self.rnn(x, h_0))


class Packed(nn.Module):  # type: ignore[misc]
    """Sequences of different lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(4, 5, 2, bidirectional=True)

    def forward(self, x: Any, lengths: Any) -> Any:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths)
        output, h_n = self.rnn(packed)
        return nn.utils.rnn.pad_packed_sequence(output)[0], h_n


def cases() -> dict[str, tuple[nn.Module, tuple[Any, ...], dict[str, Any]]]:
    """The module, its inputs and the exporter's options, by the file's name."""
    torch.manual_seed(5)
    x, h_0, ids = torch.randn(6, 2, 4), torch.randn(4, 2, 5), torch.randint(0, 7, (2, 6))
    last = Net(lambda readout, output, _: readout(output[:, -1]), batch_first=True, num_layers=2, nonlinearity="relu")
    return {
        "torch_softmax": (
            Net(lambda readout, output, h_n: (torch.softmax(readout(output), -1), h_n), num_layers=2, bidirectional=True),
            (x,), {"opset_version": 17},
        ),
        "torch_last_step": (last, (x.transpose(0, 1),), {"opset_version": 18, "dynamic_axes": BATCH_FIRST}),
        "torch_embedding": (
            Net(lambda readout, output, h_n: (readout(output), h_n), before=nn.Embedding(7, 4), batch_first=True),
            (ids,), {"opset_version": 9, "dynamic_axes": BATCH_FIRST},
        ),
        "torch_state": (
            Net(lambda _, output, h_n: (output, h_n), num_layers=2, bidirectional=True, bias=False),
            (x, h_0), {"opset_version": 14, "dynamic_axes": DYNAMIC, "do_constant_folding": False},
        ),
        "torch_lengths": (Packed(), (x, torch.tensor([6, 4])), {"opset_version": 17, "dynamic_axes": DYNAMIC}),
        "torch_unsorted": (Unsorted(), (x, torch.tensor([4, 6])), {"opset_version": 17, "dynamic_axes": DYNAMIC}),
        "torch_normalized": (Normalized(), (x.transpose(0, 1),), {"opset_version": 17, "dynamic_axes": BATCH_FIRST}),
        "torch_unbatched": (Net(lambda _, output, h_n: (output, h_n)), (x[:, 0],), {"opset_version": 17}),
    }  # fmt: skip


class Unsorted(Packed):
    """Sequences of different lengths in any order, and scores of their last states."""

    def __init__(self) -> None:
        super().__init__()
        self.readout = nn.Linear(10, 3)

    def forward(self, x: Any, lengths: Any) -> Any:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        h_n = self.rnn(packed)[1]
        return self.readout(torch.cat((h_n[-2], h_n[-1]), 1)), h_n


class Cells(nn.Module):  # type: ignore[misc]
    """Two cells in a loop of Python's, the scores of each step, and the last states."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.cells = nn.ModuleList([nn.RNNCell(4, 5), nn.RNNCell(5, 6, nonlinearity="relu")])
        self.readout = nn.Linear(6, 3)

    def forward(self, ids: Any) -> Any:
        first, second = (torch.zeros(ids.shape[0], size) for size in (5, 6))
        scores = []
        for t in range(ids.shape[1]):
            first = self.cells[0](self.table(ids[:, t]), first)
            second = self.cells[1](first, second)
            scores.append(torch.log_softmax(self.readout(second), -1))
        return torch.stack(scores, 1), second


class Step(nn.Module):  # type: ignore[misc]
    """One step of a cell whose matrix takes the input and the state side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.readout = nn.Linear(9, 5), nn.Linear(5, 3)

    def forward(self, x: Any, hx: Any) -> Any:
        hx = torch.tanh(self.both(torch.cat((x, hx), 1)))
        return self.readout(hx), hx


class Normalized(nn.Module):  # type: ignore[misc]
    """A BatchNorm before the layers, one after the first Linear of a head, and one that an activation comes before."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(4, 5, batch_first=True)
        self.norms = nn.ModuleList([nn.BatchNorm1d(size) for size in (4, 3, 3)])
        self.head = nn.ModuleList([nn.Linear(5, 3), nn.Linear(3, 2)])
        for norm in self.norms:
            norm.running_mean.copy_(torch.randn(norm.num_features))
            norm.running_var.copy_(torch.rand(norm.num_features) + 0.5)

    def forward(self, x: Any) -> Any:
        x = self.norms[0](x.transpose(1, 2)).transpose(1, 2)
        output, _ = self.rnn((x - 0.5) / 0.25)
        return self.head[1](self.norms[2](torch.relu(self.norms[1](self.head[0](output[:, -1])))))


def unrolled() -> dict[str, tuple[nn.Module, tuple[Any, ...], dict[str, Any]]]:
    """As `cases`, for the exporter that computes each step by nodes of its own; `dynamic` is its option."""
    torch.manual_seed(6)
    x, h_0, ids = torch.randn(4, 2, 4), torch.randn(1, 2, 5), torch.randint(0, 7, (2, 4))
    head = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    batch = ({1: torch.export.Dim("batch")}, {1: torch.export.Dim("batch")})
    return {
        "unrolled_layers": (nn.RNN(4, 5, 2, bidirectional=True, batch_first=True), (x.transpose(0, 1),), {}),
        "unrolled_head": (
            Net(lambda _, output, h_n: head(output[:, -1]), before=nn.Embedding(7, 4), batch_first=True, nonlinearity="relu"),
            (ids,), {},
        ),
        "unrolled_state": (nn.RNN(4, 5, bias=False), (x, h_0), {"dynamic_shapes": batch}),
        "unrolled_cells": (Cells(), (ids,), {}),
        "unrolled_step": (Step(), (x[0], h_0[0]), {}),
    }  # fmt: skip


def export_unrolled(module: nn.Module, inputs: tuple[Any, ...], path: Path, **options: Any) -> None:
    """Write a module by torch's default exporter, without what it notes for people."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, inputs, str(path), dynamo=True, external_data=False, verbose=False, **options)
    write_plain(onnx.load(path), path)


def write_plain(model: onnx.ModelProto, path: Path) -> None:
    """Write a model without notes and names of what a graph computes, among them paths of this machine."""
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:]
    for held in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        del held.metadata_props[:]
        held.doc_string = ""
    onnx.save(model, path)


def write_half(source: Path, path: Path) -> None:
    """Write a model in float16 that takes and gives float32, as the converter of ONNX Runtime makes it."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    write_plain(convert_float_to_float16(onnx.load(source), keep_io_types=True), path)


def export(module: nn.Module, inputs: tuple[Any, ...], path: Path, **options: Any) -> None:
    """Write a module by torch's exporter of TorchScript, which keeps the RNN in one node."""
    names = ["x", "second"][: len(inputs)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns that it is old, and that batch sizes may be fixed
        torch.onnx.export(module, inputs, str(path), dynamo=False, input_names=names, **options)


def main(*names: str) -> None:
    """Write all files, or those of some names."""
    for write, made in ((export, cases()), (export_unrolled, unrolled())):
        for name, (module, inputs, options) in made.items():
            if names and name not in names:
                continue
            contractive(module)
            write(module, inputs, HERE / f"{name}.onnx", **options)
            with torch.no_grad():
                outputs = module(*inputs)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            held = {f"input{k}": value.numpy() for k, value in enumerate(inputs)}
            np.savez(HERE / f"{name}.npz", **held, **{f"output{k}": value.numpy() for k, value in enumerate(outputs)})
    if not names or "half" in names:
        write_half(HERE / "torch_state.onnx", HERE / "cases" / "half_layers.onnx")
        write_half(HERE / "unrolled_head.onnx", HERE / "cases" / "half_unrolled.onnx")


if __name__ == "__main__":
    main(*sys.argv[1:])
