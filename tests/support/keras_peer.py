"""Models of a running Keras, 2 or 3, beside what is read of them: live, and from each of its files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras_models as km
import numpy as np

import rnn_backends as rb


def same_everywhere(keras: Any, name: str, folder: Path, trained: Sequence[bool] = (False, True)) -> None:
    """Check a model before and after it is compiled and trained, so that metrics and optimizers stand in its files."""
    built = km.made(keras, name)
    for is_trained in trained:
        if is_trained:
            built.model.compile("sgd", "mse", metrics=["mae"])
            built.model.train_on_batch(built.x, np.asarray(built.model(built.x)))
        files = [folder / "m.keras", folder / "m.h5"]
        for file in files:
            built.model.save(file)
        wanted = np.asarray(built.model(built.x))
        for source in (built.model, *files):
            _same(built, wanted, source, built.given)


def same_alone(keras: Any, name: str, folder: Path, version: int, trained: Sequence[bool] = (False, True)) -> None:
    """Check the weights of a model alone, before and after it is compiled and trained."""
    built, given = km.made(keras, name), km.ALONE[name]
    for is_trained in trained:
        if is_trained:
            built.model.compile("sgd", "mse", metrics=["mae"])
            built.model.train_on_batch(built.x, np.asarray(built.model(built.x)))
        wanted = np.asarray(built.model(built.x))
        built.model.save_weights(folder / "m.weights.h5")
        known = {**given}
        if version == 2 and given["activation"] == "hard_sigmoid":  # which the file does not show to be Keras 2's
            known["activation"] = rb.Activation("hard_sigmoid", 0.2, 0.5)
        _same(built, wanted, folder / "m.weights.h5", known)
        if version == 2:
            built.model.save_weights(folder / "m.h5")
            _same(built, wanted, folder / "m.h5", given)


def _same(built: km.Made, wanted: Any, source: Any, given: Mapping[str, Any]) -> None:
    found = built.result(rb.from_keras(source, **given))
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=3e-6, atol=3e-6)
