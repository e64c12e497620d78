"""Write the .pt files of this folder, and what torch computes with them: python tests/data/make_torch_files.py.

They were made with torch 2.13.0 on Python 3.11.  The tests read them where torch is not installed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).parent


class Classifier(nn.Module):  # type: ignore[misc]  # of no known type
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.rnn = nn.RNN(3, 4, **options)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.fc(self.rnn(x)[0])


def checkpoint(model: nn.Module) -> dict[str, Any]:
    """Return what people save while they train."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model(torch.randn(5, 2, 3)).sum().backward()
    optimizer.step()
    held = {"epoch": 3, "best": 0.25, "name": "run 7", "model": model.state_dict()}
    return held | {"optimizer": optimizer.state_dict(), "losses": [0.5, 0.25], "ema": None, "amp": False}


def views() -> dict[str, Any]:
    """Return the weights of one cell, each lying in memory in its own way, two of them in one storage."""
    whole, square, row = torch.randn(6, 7), torch.randn(4, 4), torch.randn(20)
    return {
        "weight_ih_l0": whole[1:5, 2:5],
        "weight_hh_l0": square.t(),
        "bias_ih_l0": row[3:11:2],
        "bias_hh_l0": row[11:15],
    }


def main() -> None:
    torch.manual_seed(20)
    saved: dict[str, Any] = {}
    saved["layers.pt"] = nn.RNN(3, 4, num_layers=2, bidirectional=True).state_dict()
    saved["cell.pth"] = nn.RNNCell(3, 4, nonlinearity="relu").state_dict()
    classifier = Classifier(nonlinearity="relu", batch_first=True)
    saved["checkpoint.pth"] = checkpoint(classifier)
    saved["views.pt"] = views()
    saved["parameters.pt"] = dict(nn.RNN(3, 4).named_parameters())
    for name in ("float16", "bfloat16", "float64"):
        saved[f"{name}.pt"] = nn.RNN(3, 4, bias=False).to(getattr(torch, name)).state_dict()
    saved["module.pt"] = nn.RNN(3, 4)
    for name, held in saved.items():
        torch.save(held, FOLDER / name)
    torch.save(saved["layers.pt"], FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)

    x = torch.randn(5, 2, 3, dtype=torch.float64)
    values: dict[str, Any] = {}
    for name, held in saved.items():
        if name == "module.pt":
            continue
        state = held["model"] if name == "checkpoint.pth" else held
        values |= {f"{name}/{key}": array.detach().double().numpy() for key, array in state.items()}
    module = nn.RNN(3, 4, num_layers=2, bidirectional=True, dtype=torch.float64)
    module.load_state_dict({key: array.double() for key, array in saved["layers.pt"].items()})
    with torch.no_grad():
        outputs = {"x": x, "output": module(x)[0], "h_n": module(x)[1], "logits": classifier.double()(x)}
    values |= {name: array.numpy() for name, array in outputs.items()}
    np.savez_compressed(FOLDER / "torch.npz", **values)


if __name__ == "__main__":
    main()
