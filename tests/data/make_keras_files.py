"""Write the Keras files of this folder, and what Keras computes with them: python tests/data/make_keras_files.py.

They were made with Keras 3.15.1 on JAX 0.10.2.  The tests read them where Keras is not installed.
"""

import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from keras import layers as kl

FOLDER = Path(__file__).parent


def tagger() -> Any:
    """Return a model that labels each token."""
    backwards = kl.SimpleRNN(4, return_sequences=True, go_backwards=True, activation="hard_sigmoid")
    again = kl.SimpleRNN(4, return_sequences=True, go_backwards=True, activation=kl.LeakyReLU())
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            kl.Embedding(7, 3),
            kl.Bidirectional(kl.SimpleRNN(4, return_sequences=True)),
            backwards,
            kl.Dropout(0.2),
            again,
            kl.TimeDistributed(kl.Dense(2)),
            kl.Activation("softmax"),
        ]
    )


def classifier() -> Any:
    """Return a functional model of the last step, and compile it, so that its file holds an optimizer too."""
    x = keras.Input((None, 3))
    cells = [kl.SimpleRNNCell(4), kl.SimpleRNNCell(4, use_bias=False)]
    h = kl.RNN(cells)(kl.Dropout(0.1)(x))
    model = keras.Model(x, kl.Dense(1, activation="sigmoid")(h))
    model.compile("sgd", "binary_crossentropy")
    return model


def stack() -> Any:
    """Return a model of which the weights alone tell enough."""
    # JAX cannot draw the default, an orthogonal matrix, in bfloat16.
    cells = [kl.SimpleRNN(4, return_sequences=True, recurrent_initializer="glorot_uniform") for _ in range(2)]
    return keras.Sequential([keras.Input((None, 3)), *cells, kl.Dense(2)])


def main() -> None:
    keras.utils.set_random_seed(20)
    draw = np.random.default_rng(20)
    x, ids = draw.normal(size=(2, 5, 3)), draw.integers(0, 7, (2, 5))
    values: dict[str, Any] = {"x": x, "ids": ids}
    for name, make, dtype, given in (
        ("tagger.keras", tagger, "float32", ids),
        ("classifier.keras", classifier, "float32", x),
        ("stack.weights.h5", stack, "float32", x),
        ("bfloat16.weights.h5", stack, "bfloat16", x),
    ):
        keras.config.set_dtype_policy(dtype)
        model = make()
        model.set_weights([draw.normal(size=each.shape) * 0.3 for each in model.get_weights()])
        (model.save if name.endswith(".keras") else model.save_weights)(FOLDER / name)
        values[f"{name}/output"] = np.asarray(model(given)).astype("f4")
        for number, each in enumerate(model.get_weights()):
            values[f"{name}/{number}"] = each.astype("f4")
    np.savez_compressed(FOLDER / "keras.npz", **values)


if __name__ == "__main__":
    main()
