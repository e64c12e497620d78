"""Write the ONNX files of this folder, as torch's exporter makes them, and what torch computes for their inputs.

python tests/data/make_onnx.py            # needs torch and onnx
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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
        "torch_unbatched": (Net(lambda _, output, h_n: (output, h_n)), (x[:, 0],), {"opset_version": 17}),
    }  # fmt: skip


def export(module: nn.Module, inputs: tuple[Any, ...], path: Path, **options: Any) -> None:
    """Write a module by torch's exporter of TorchScript, which keeps the RNN in one node."""
    names = ["x", "second"][: len(inputs)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns that it is old, and that batch sizes may be fixed
        torch.onnx.export(module, inputs, str(path), dynamo=False, input_names=names, **options)


def main() -> None:
    """Write all files."""
    for name, (module, inputs, options) in cases().items():
        contractive(module)
        export(module, inputs, HERE / f"{name}.onnx", **options)
        with torch.no_grad():
            outputs = module(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        held = {f"input{k}": value.numpy() for k, value in enumerate(inputs)}
        np.savez(HERE / f"{name}.npz", **held, **{f"output{k}": value.numpy() for k, value in enumerate(outputs)})


if __name__ == "__main__":
    main()
