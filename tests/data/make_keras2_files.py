"""Write the files of keras2/, and what Keras 2 computes with them: python tests/data/make_keras2_files.py.

They were made with TensorFlow 2.15.1, whose Keras is 2.15.0, and the few of keras2_12/ with TensorFlow 2.12.1, by the same
command; each needs NumPy 1, and so an environment of its own.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import numpy as np
from keras_models import made
from tensorflow import keras

IS_OLDER = keras.__version__.startswith("2.12.")
FOLDER = Path(__file__).parent / ("keras2_12" if IS_OLDER else "keras2")
OLDER = {"nested": (".keras",), "sigmoids": (".weights.h5",)}
"""The same of Keras 2.12, whose .keras files have other names of groups."""
FILES = {
    "sigmoids": (".keras", ".weights.h5", "_weights.h5"),
    "a head": (".h5",),
    "an embedding that masks": (".keras", ".h5", "_weights.h5"),
    "functional that masks and pools": (".h5",),
    "nested": (".h5",),
    "half": (".keras", ".h5"),
}
"""The models by name, each with the ends of the names of its files; ``_weights.h5`` is Keras 2's own layout."""


def half() -> Any:
    """Return a model in float16 of Keras's own functional class, with metrics and an optimizer."""
    keras.backend.set_floatx("float16")
    try:
        x = keras.Input((5, 3))
        rnn = keras.layers.SimpleRNN(4, activation=keras.layers.ReLU(max_value=2.0))
        model = keras.Model(x, keras.layers.Dense(2)(rnn(x)))
        model.compile("sgd", "mse", metrics=["mae"])
    finally:
        keras.backend.set_floatx("float32")
    return model


def main() -> None:
    keras.utils.set_random_seed(20)
    values: dict[str, Any] = {}
    for name, ends in (OLDER if IS_OLDER else FILES).items():
        if name == "half":
            model, x = half(), np.random.default_rng(3).normal(size=(2, 5, 3)).astype("f2")
        else:
            built = made(keras, name)
            model, x = built.model, built.x
            model.compile("sgd", "mse", metrics=["mae"])
        model.train_on_batch(x, np.asarray(model(x)))  # so that there are states of metrics and of an optimizer
        values |= {f"{name}/x": x, f"{name}/y": np.asarray(model(x))}
        for end in ends:
            path = FOLDER / f"{name.replace(' ', '_')}{end}"
            options = {"save_format": "keras_v3"} if IS_OLDER and end == ".keras" else {}
            (model.save_weights if end.endswith("weights.h5") else model.save)(path, **options)
    np.savez_compressed(FOLDER / "values.npz", **values)


if __name__ == "__main__":
    main()
