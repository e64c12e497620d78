"""FlashRNN as a contestant, by a module in its place that has the signature and the shapes of its documentation."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cuda_standin
import pytest
from harness import competitors
from harness.contestant import AbsentError, check
from harness.problem import Drawn, Problem

SMALL = Problem(seq_len=6, batch=3, input_size=4, hidden_size=5)


@pytest.fixture
def gpu(torch: Any) -> Iterator[Any]:
    with cuda_standin.installed() as module:
        yield module.Gpu(0)


@pytest.fixture
def broken(torch: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """Put a module where FlashRNN would be; return what its backends raise, by name."""
    raised: dict[str, Exception] = {}

    def flashrnn(
        Wx: Any, R: Any, b: Any, states: Any = None, function: str = "lstm", config: Any = None,  # noqa: N803
        backend: str = "cuda_fused", dtype: str = "bfloat16",
    ) -> tuple[Any, Any]:  # fmt: skip
        if backend in raised:
            raise raised[backend]
        batch, _, gates, heads, size = Wx.shape
        assert (function, states, config) == ("elman", None, None)
        assert (gates, heads, R.shape, b.shape) == (1, 1, (1, 1, size, size), (1, 1, size))
        assert {str(array.dtype) for array in (Wx, R, b)} == {f"torch.{dtype}"}
        h, found = torch.zeros(batch, size, dtype=Wx.dtype), []
        for step in Wx[:, :, 0, 0].unbind(1):
            h = torch.tanh(step + h @ R[0, 0].T + b[0, 0])
            found.append(h)
        hidden = torch.stack(found, 1)[None, :, :, None]  # (S, B, T, N, D)
        return hidden, hidden[:, :, -1:]

    monkeypatch.setitem(sys.modules, "flashrnn", SimpleNamespace(flashrnn=flashrnn))
    monkeypatch.setattr(competitors, "distribution_version", lambda _: "1")
    monkeypatch.delitem(sys.modules, "harness.competitors.flashrnn", raising=False)
    monkeypatch.delattr(competitors, "flashrnn", raising=False)
    return raised


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_it_computes_the_same(gpu: Any, broken: dict[str, Exception], fused: bool, dtype: str) -> None:
    if not fused:
        broken["cuda_fused"] = RuntimeError("no tiling was found")
    drawn = Drawn.of(replace(SMALL, dtype=dtype))
    one = competitors.prepare("flashrnn", drawn, 1, gpu)
    assert one.name == "flashrnn"
    assert check([one], drawn)["flashrnn"] <= (1.0 if dtype == "float32" else 8.0)


def test_where_it_does_not_build_it_is_absent(gpu: Any, broken: dict[str, Exception]) -> None:
    broken |= {"cuda_fused": RuntimeError("Error building extension\nmore"), "cuda": OSError()}
    with pytest.raises(
        AbsentError, match=r"^it does not build or run here \(cuda_fused: Error building extension; cuda: OSE"
    ):
        competitors.prepare("flashrnn", Drawn.of(SMALL), 1, gpu)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"dtype": "float64"}, "it takes float32, float16, bfloat16"), ({"tokens": True}, "whole sequences of features")]
    + [({name: True}, "in one direction and of equal lengths") for name in ("bidirectional", "ragged", "step")]
    + [({"leak": 0.5}, "whole sequences of features")],
)
def test_what_it_does_not_take(gpu: Any, broken: dict[str, Exception], options: dict[str, Any], reason: str) -> None:
    with pytest.raises(AbsentError, match=reason):
        competitors.prepare("flashrnn", Drawn.of(replace(SMALL, **options)), 1, gpu)
    assert not broken


def test_where_it_is_not_installed_it_is_absent(gpu: Any) -> None:
    with pytest.raises(AbsentError, match=r"^not installed: pip install flashrnn"):
        competitors.prepare("flashrnn", Drawn.of(SMALL), 1, gpu)
    assert competitors.distribution_version("flashrnn") is None
