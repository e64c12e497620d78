"""Models as a state machine: moved, saved, loaded, pickled and copied in any order, they are always the same numbers."""

import copy
import pickle
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.core.layers import named_arrays

BACKENDS = ("numpy", "array_api_strict", "array_api_strict:device1")
EPS = {"float16": 2**-10, "float32": 2**-23, "float64": 2**-52}
Array = NDArray[Any]


def weights(rnn: rb.RNN) -> dict[str, Array]:
    """Return the weights of a model, each widened, exactly."""
    host = rnn.to("numpy", dtype="float64")
    held = {"layers": host.layers, "readout": host.readout, "encoder": host.encoder, "h_0": host.h_0}
    return {
        name: np.asarray(array)
        for part, record in held.items()
        if record is not None
        for name, array in named_arrays(record, part)
    }


def facts(rnn: rb.RNN) -> tuple[Any, ...]:
    """Return what is not a weight."""
    cells = [
        (cell.activation, cell.clip) for layer in rnn.layers for cell, _ in layer.cells if isinstance(cell, rb.Cell)
    ]
    return cells, rnn.reads, rnn.takes, rnn.batch_first, rnn.vocabulary, dict(rnn.metadata)


class Models(RuleBasedStateMachine):
    """Models, each beside the weights that it must have."""

    models = Bundle("models")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(
        target=models, seed=st.integers(0, 99), layers=st.integers(1, 2), both=st.booleans(), bias=st.booleans(),
        reads=st.sampled_from(("steps", "last", "final", "mean", "max")), clip=st.sampled_from((None, 0.5)),
        dtype=st.sampled_from(sorted(EPS)), backend=st.sampled_from(BACKENDS), batch_first=st.booleans(), words=st.booleans(),
    )  # fmt: skip
    def make(
        self,
        seed: int,
        layers: int,
        both: bool,
        bias: bool,
        reads: str,
        clip: float | None,
        dtype: str,
        backend: str,
        batch_first: bool,
        words: bool,
    ) -> Any:
        made = rb.RNN.init(
            3, 4, num_layers=layers, bidirectional=both, bias=bias, output_size=2, seed=seed, dtype=dtype
        )
        if clip is not None and not both:
            cells: Any = [layer.forward for layer in made.layers]
            kept = [rb.Cell(cell.weight_ih, cell.weight_hh, cell.bias, cell.activation, clip) for cell in cells]
            made = rb.RNN(kept, made.readout)
        rnn = rb.RNN(
            made.layers, made.readout, reads=reads, batch_first=batch_first, vocabulary=("a", "bc", "d") if words else None,
            metadata={"seed": str(seed)},
        )  # fmt: skip
        return self.moved(rnn, "numpy" if dtype == "float16" else backend), weights(rnn), facts(rnn)

    @staticmethod
    def moved(rnn: rb.RNN, backend: str, dtype: str | None = None) -> rb.RNN:
        """Return a model on a backend; one that lacks the dtype refuses it, and the model stays."""
        if (dtype or str(rnn.dtype)) != "float16" or backend == "numpy":
            return rnn.to(backend, dtype=dtype)
        with pytest.raises(rb.DTypeError):
            rnn.to(backend, dtype=dtype)
        return rnn

    def checked(self, rnn: rb.RNN, wanted: dict[str, Array], known: tuple[Any, ...]) -> Any:
        """Return a model with what it must be, after a look at what it is."""
        found = weights(rnn)
        assert found.keys() == wanted.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, wanted[name], err_msg=name)
        assert facts(rnn) == known
        x: Any = np.linspace(-1, 1, 24).reshape(2, 4, 3).astype(np.float16).astype(str(rnn.dtype))
        x = np.arange(8).reshape(2, 4) % 3 if rnn.takes == "tokens" else x
        exact = rnn.to("numpy", dtype="float64")
        for method in ("logits", "last"):
            got = rb.to_numpy(getattr(rnn, method)(x)).astype("f8")
            right = getattr(exact, method)(x if rnn.takes == "tokens" else x.astype("f8"))
            np.testing.assert_allclose(got, right, atol=200 * EPS[str(rnn.dtype)], rtol=200 * EPS[str(rnn.dtype)])
        return rnn, wanted, known

    @rule(target=models, model=models, backend=st.sampled_from(BACKENDS))
    def to_another_backend(self, model: Any, backend: str) -> Any:
        rnn, wanted, known = model
        return self.checked(self.moved(rnn, backend), wanted, known)

    @rule(target=models, model=models, dtype=st.sampled_from(sorted(EPS)))
    def to_another_dtype(self, model: Any, dtype: str) -> Any:
        rnn, wanted, known = model
        found = self.moved(rnn, str(rnn.backend.name), dtype)
        with np.errstate(under="ignore"):
            rounded = {name: array.astype(str(found.dtype)).astype("f8") for name, array in wanted.items()}
        return self.checked(found, rounded, known)

    @rule(
        target=models,
        model=models,
        suffix=st.sampled_from((".safetensors", ".npz")),
        backend=st.sampled_from((None, *BACKENDS)),
    )
    def saved_and_loaded(self, model: Any, suffix: str, backend: str | None) -> Any:
        rnn, wanted, known = model
        self.count = (self.count + 1) % 3  # some over others
        path = Path(self.folder.name, f"m{self.count}{suffix}")
        rnn.save(path)
        found = rb.load(path, backend=None if rnn.dtype == "float16" else backend)
        assert found.dtype == rnn.dtype
        return self.checked(found, wanted, known)

    @rule(target=models, model=models)
    def pickled(self, model: Any) -> Any:
        rnn, wanted, known = model
        found = pickle.loads(pickle.dumps(rnn))
        assert (found.backend, found.device, found.dtype) == (rnn.backend, rnn.device, rnn.dtype)
        return self.checked(found, wanted, known)

    @rule(target=models, model=models, deep=st.booleans())
    def copied(self, model: Any, deep: bool) -> Any:
        rnn, wanted, known = model
        return self.checked(copy.deepcopy(rnn) if deep else copy.copy(rnn), wanted, known)

    @rule(model=models)
    def as_ever(self, model: Any) -> None:
        self.checked(*model)


Models.TestCase.settings = settings(stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))


class TestModels(Models.TestCase):  # type: ignore[misc,valid-type,unused-ignore]
    """Models are moved, saved and copied in any order."""
