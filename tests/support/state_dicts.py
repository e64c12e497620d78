"""State dicts of random networks under torch's names, with what they compute, by the text-book equations in NumPy."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
FUNCTIONS: Mapping[str, Any] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "identity": lambda x: x,
    "sigmoid": lambda x: (1 + np.tanh(x / 2)) / 2,
}
SEQ_LEN, BATCH = 4, 2


class Drawn(NamedTuple):
    """A state dict, the truth about it, and the results of its network.

    Parameters
    ----------
    state : dict of str to array
    roles : dict of str to str
        The roles of its modules, layers among them.
    options : dict of str to object
        The activations.
    x, wanted : array
        An input, time first, and the result of the readout, or of the layers where there is none.
    """

    state: dict[str, Any]
    roles: dict[str, str]
    options: dict[str, Any]
    x: Any
    wanted: Float


def drawn(seed: int, most: int = 4) -> Drawn:
    """Return a network of any shape, whose modules stand in any order among others that compute nothing."""
    random = np.random.default_rng(seed)
    begin = random.choice(["", "model.", "module.net.", "_orig_mod."])
    modules: dict[str, dict[str, Float]] = {}
    roles: dict[str, str] = {}
    tokens = bool(random.random() < 0.3)
    functions: dict[str, list[str]] = {"encoder": [], "readout": []}
    width = int(random.integers(1, most + 1))
    x: Any = random.normal(size=(SEQ_LEN, BATCH, width))
    h = x
    if tokens:
        table = random.normal(size=(int(random.integers(2, most + 2)), width))
        x = random.integers(len(table), size=(SEQ_LEN, BATCH))
        modules["emb"], roles["emb"], h = {"weight": table}, "embedding", table[x]
    for index in range(random.choice(3, p=[0.6, 0.3, 0.1])):
        h = _linear(random, f"before{index}", "encoder", modules, roles, functions, h, most)
    activation = str(random.choice(["tanh", "relu"]))
    for index in range(random.choice([1, 2], p=[0.75, 0.25])):
        h = _recurrent(random, "rnn" if index == 0 else "rnn2", modules, h, activation, most)
        roles["rnn" if index == 0 else "rnn2"] = "layers"
    for index in range(random.choice(3, p=[0.2, 0.5, 0.3])):
        h = _linear(random, f"after{index}", "readout", modules, roles, functions, h, most)
    state = _extras(random, begin)
    for name in _order(random, list(modules)):
        state |= {f"{begin}{name}.{local}": array for local, array in modules[name].items()}
    options: dict[str, Any] = {"activation": activation}
    options |= {f"{role}_activation": tuple(names) for role, names in functions.items() if names}
    return Drawn(state, {f"{begin}{name}": role for name, role in roles.items()}, options, x, h)


def _linear(
    random: np.random.Generator, name: str, role: str, modules: Any, roles: Any, functions: Any, h: Float, most: int
) -> Float:
    rows, activation = int(random.integers(2, most + 1)), str(random.choice(["tanh", "relu", "identity", "sigmoid"]))
    modules[name] = {"weight": random.normal(size=(rows, h.shape[-1]))}
    if random.random() < 0.8:
        modules[name]["bias"] = random.normal(size=rows)
    roles[name] = role
    functions[role].append(activation)
    result: Float = FUNCTIONS[activation](h @ modules[name]["weight"].T + modules[name].get("bias", 0.0))
    return result


def _recurrent(random: np.random.Generator, name: str, modules: Any, h: Float, activation: str, most: int) -> Float:
    hidden, sides = int(random.integers(1, most + 1)), ("", "_reverse") if random.random() < 0.3 else ("",)
    biased = random.random() < 0.8
    arrays: dict[str, Float] = {}
    for index in range(random.choice([1, 2])):
        outputs = []
        for side in sides:
            w_ih, w_hh = (
                random.normal(size=(hidden, h.shape[-1])),
                random.normal(size=(hidden, hidden)) / 2 / hidden**0.5,
            )
            arrays |= {f"weight_ih_l{index}{side}": w_ih, f"weight_hh_l{index}{side}": w_hh}
            bias = np.zeros((2, hidden))
            if biased:
                bias = random.normal(size=(2, hidden))
                arrays |= {f"bias_ih_l{index}{side}": bias[0], f"bias_hh_l{index}{side}": bias[1]}
            a, states = np.zeros((BATCH, hidden)), np.empty((SEQ_LEN, BATCH, hidden))
            for t in range(SEQ_LEN) if not side else reversed(range(SEQ_LEN)):
                a = states[t] = FUNCTIONS[activation](a @ w_hh.T + h[t] @ w_ih.T + bias.sum(axis=0))
            outputs.append(states)
        h = np.concatenate(outputs, axis=-1)
    modules[name] = arrays
    return h


def _order(random: np.random.Generator, names: list[str]) -> list[str]:
    """Return names in the order in which they are applied, with a readout before the RNN, or with any role before any.

    Those of one role keep their order.
    """
    kind = random.random()
    if kind < 0.6:
        return names
    if kind < 0.8:
        return sorted(names, key=lambda name: not name.startswith("after"))
    begins = dict.fromkeys(name.rstrip("0123456789") for name in names)
    places = dict(zip(begins, random.permutation(len(begins)), strict=True))
    return sorted(names, key=lambda name: places[name.rstrip("0123456789")])


def _extras(random: np.random.Generator, begin: str) -> dict[str, Any]:
    """Return arrays that compute nothing."""
    choices: list[dict[str, Any]] = [
        {"n_averaged": np.array(3)},
        {f"{begin}criterion.weight": np.ones(3)},
        {f"{begin}loss_fn.pos_weight": np.ones(2)},
        {f"{begin}steps": np.array([7])},
    ]
    return dict(item for extra in choices if random.random() < 0.2 for item in extra.items())
