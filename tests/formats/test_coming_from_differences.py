"""docs/coming_from.md: the tables of what each framework does differently, a test for each line."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coming_from import PAGE, B, Keras, Row, T, normal, tables
from quick import drawn_parameters, quick_row
from ways import follow

import rnn_backends as rb

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of what Keras itself does


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest) -> Iterator[None]:
    with quick_row(request):
        yield


def line(section: str, name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Have a test stand for a line of a table."""

    def mark(test: Callable[[], None]) -> Callable[[], None]:
        LINES[section, name] = test
        return test

    return mark


LINES: dict[tuple[str, str], Callable[[], None]] = {}


@pytest.mark.parametrize("row", tables("here"))
def test_differences(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    LINES[row.section, row.cells[0]]()


def test_every_difference_is_on_the_page() -> None:
    assert LINES.keys() == {(row.values[0].section, row.values[0].cells[0]) for row in tables("here")}


def pair() -> tuple[Any, Any, rb.RNN]:
    torch = pytest.importorskip("torch")
    module = torch.nn.RNN(3, 4)
    return torch, module, rb.from_torch(module)


@line("torch", "a length of 0")
def torch_length_of_0() -> None:
    torch, _, rnn = pair()
    x, h_0 = normal(T, 2, 3), normal(1, 2, 4).astype("f4")
    with pytest.raises(RuntimeError, match="Length of all samples has to be greater than 0"):
        torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(x), torch.tensor([T, 0]))
    output, h_n = rnn(x, h_0, lengths=[T, 0])
    assert not output[:, 1].any()
    np.testing.assert_array_equal(h_n[:, 1], h_0[:, 1])


@line("torch", "no steps")
def torch_no_steps() -> None:
    torch, module, rnn = pair()
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0"):
        module(torch.zeros(0, 2, 3))
    h_0 = normal(1, 2, 4).astype("f4")
    output, h_n = rnn(np.zeros((0, 2, 3)), h_0)
    assert output.shape == (0, 2, 4)
    np.testing.assert_array_equal(h_n, h_0)


@line("torch", "integers as input")
def torch_integers() -> None:
    torch, module, rnn = pair()
    ids = np.array([[0, 2], [1, 1]])
    with pytest.raises((RuntimeError, ValueError)):
        module(torch.tensor(ids))
    x = np.arange(6).reshape(2, 3) % 2
    np.testing.assert_array_equal(rnn(x)[0], rnn(x.astype("f4"))[0])
    tokens = rb.from_torch(module, takes="tokens")
    np.testing.assert_allclose(tokens(ids)[0], rnn(np.eye(3)[ids])[0], rtol=0, atol=1e-6)


@line("torch", "float64 given to a float32 model")
def torch_float64() -> None:
    torch, module, rnn = pair()
    x = normal(T, 2, 3)
    with pytest.raises((RuntimeError, ValueError)):
        module(torch.tensor(x))
    np.testing.assert_array_equal(rnn(x)[0], rnn(x.astype("f4"))[0])


@line("torch", "two biases")
def torch_biases() -> None:
    _, module, rnn = pair()
    state = rnn.to_torch()
    first, second = (getattr(module, f"bias_{which}_l0").detach().numpy() for which in ("ih", "hh"))
    np.testing.assert_array_equal(state["bias_ih_l0"], first + second)
    assert not state["bias_hh_l0"].any()


def flax_pair(**options: Any) -> tuple[Callable[..., Any], rb.RNN]:
    pytest.importorskip("flax")
    from flax import linen

    module = linen.RNN(linen.SimpleCell(4), **options)
    params = drawn_parameters(module, X)
    layers: list[Any] = [(None, "cell")] if options.get("reverse") else ["cell"]
    rnn = rb.from_flax(params, activation="tanh", residual=False, layers=layers)
    return lambda *given, **more: module.apply(params, *given, **more), rnn


X = normal(B, T, 3).astype("f4")


@line("Flax", "what a call gives")
def flax_call() -> None:
    module, rnn = flax_pair()
    output, h_n = rnn(X)
    np.testing.assert_allclose(module(X), output, rtol=0, atol=2e-6)
    carry, outputs = module(X, return_carry=True)
    np.testing.assert_allclose(carry, h_n[0], rtol=0, atol=2e-6)
    np.testing.assert_allclose(outputs, output, rtol=0, atol=2e-6)


@line("Flax", "outputs beyond a length")
def flax_beyond() -> None:
    module, rnn = flax_pair()
    theirs, (output, _) = np.asarray(module(X, seq_lengths=np.array([T, 2]))), rnn(X, lengths=[T, 2])
    np.testing.assert_allclose(theirs[1], rnn(X)[0][1], rtol=0, atol=2e-6)
    assert theirs[1, 2:].any()
    assert not output[1, 2:].any()


@line("Flax", "a length of 0")
def flax_length_of_0() -> None:
    module, rnn = flax_pair()
    carry, outputs = module(X, seq_lengths=np.array([T, 0]), return_carry=True)
    np.testing.assert_array_equal(carry[1], outputs[1, -1])
    assert np.asarray(carry[1]).any()
    assert not rnn(X, lengths=[T, 0])[1][0, 1].any()


@line("Flax", "`reverse=True` alone")
def flax_reverse() -> None:
    module, rnn = flax_pair(reverse=True)
    np.testing.assert_allclose(np.asarray(module(X))[:, ::-1], rnn(X)[0], rtol=0, atol=2e-6)


def keras_pair(*layers: Any, **options: Any) -> tuple[Any, rb.RNN]:
    """A model of Keras, of a SimpleRNN of all its steps if of nothing else, and what is read of it."""
    system = Keras()
    made = layers or (system.keras.layers.SimpleRNN(4, return_sequences=True),)
    model = system.sequential(*made)
    return model, rb.from_keras(model, **options)


def near(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=0, atol=2e-6)


@pytest.mark.parametrize("options", [{"libver": "latest"}, {"track_order": True}, {}])
def test_hdf5_that_keras_does_not_write_is_written_again(tmp_path: Path, options: dict[str, Any]) -> None:
    h5py = pytest.importorskip("h5py")
    names: dict[str, Any] = {"h5py": h5py}
    exec(re.findall(r"```python\n(# needs h5py\n.*?)```", PAGE, re.DOTALL)[0], names)
    cases = Path(__file__).parents[1] / "data" / "cases"
    x, wanted = (np.load(cases / f"keras2_simple.{name}.npy") for name in "xy")
    path, again = tmp_path / "other.h5", tmp_path / "again.h5"
    with h5py.File(cases / "keras2_simple.h5") as source, h5py.File(path, "w", **options) as target:
        target.attrs.update(source.attrs)

        def copy(name: str, item: Any) -> None:
            if not isinstance(item, h5py.Dataset):
                target.require_group(name).attrs.update(item.attrs)
            elif item.shape:
                target.create_dataset(name, data=item[()], compression="gzip", chunks=True)

        source.visititems(copy)

    def then() -> rb.RNN:
        names["rewritten"](path, again)
        return rb.load(again)

    follow("hdf5_plain", lambda **_: rb.load(path), wanted, lambda rnn: rnn.logits(x), then=then)


MASK = np.array([[0, 1, 1, 0, 1], [1, 0, 1, 0, 0]], bool)


@line("Keras", "what a call of `SimpleRNN` gives")
def keras_call() -> None:
    simple_rnn = pytest.importorskip("keras").layers.SimpleRNN
    layer = simple_rnn(4, return_sequences=True, return_state=True)
    outputs, state = layer(X)
    last = simple_rnn(4)
    last.build(X.shape)
    last.set_weights(layer.get_weights())
    output, h_n = rb.from_keras(layer)(X)
    near(outputs, output)
    near(state, h_n[0])
    near(last(X), output[:, -1])


@line("Keras", "states, given and returned")
def keras_states() -> None:
    keras = pytest.importorskip("keras")
    cells = [keras.layers.SimpleRNNCell(4), keras.layers.SimpleRNNCell(4)]
    layer = keras.layers.RNN(cells, return_sequences=True, return_state=True)
    h_0 = normal(2, B, 4).astype("f4")
    outputs, *states = layer(X, initial_state=list(h_0))
    output, h_n = rb.from_keras(layer)(X, h_0)
    assert [state.shape for state in states] == [(B, 4)] * 2
    assert h_n.shape == (2, B, 4)
    near(outputs, output)
    near(np.stack(states), h_n)


@line("Keras", "the axis of time")
def keras_time() -> None:
    model, rnn = keras_pair()
    near(model(X), rnn(X)[0])
    near(model(X).swapaxes(0, 1), rb.from_keras(model, batch_first=False)(X.swapaxes(0, 1))[0])


@line("Keras", "`go_backwards=True`")
def keras_backwards() -> None:
    """Which a file of weights alone cannot refuse."""
    system = Keras()
    model = system.sequential(system.keras.layers.SimpleRNN(4, go_backwards=True, return_sequences=True))
    model.save_weights("m.weights.h5")
    rnn = rb.load("m.weights.h5", activation="tanh", go_backwards=True)
    near(np.asarray(model(X))[:, ::-1], rnn(X)[0])


@line("Keras", "a step that `mask` leaves out")
def keras_masked() -> None:
    keras = pytest.importorskip("keras")
    layer = keras.layers.SimpleRNN(4, return_sequences=True, return_state=True)
    h_0 = normal(1, B, 4).astype("f4")
    outputs, state = layer(X, initial_state=h_0[0], mask=MASK)
    output, h_n = rb.from_keras(layer)(X, h_0, mask=MASK)
    near(outputs, output)
    near(state, h_n[0])
    np.testing.assert_array_equal(output[0, 0], h_0[0, 0])
    np.testing.assert_array_equal(output[:, 3], output[:, 2])


@line("Keras", "the output there of `Bidirectional`, or with `zero_output_for_mask=True`")
def keras_zeros() -> None:
    layers = pytest.importorskip("keras").layers
    simple_rnn = layers.SimpleRNN(4, return_sequences=True, zero_output_for_mask=True)
    for layer in (simple_rnn, layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True))):
        theirs = layer(X, mask=MASK)
        output, _ = rb.from_keras(layer)(X, mask=MASK)
        near(theirs, output * MASK[..., None])
        assert output[~MASK].any()


@line("Keras", "the output there of a `Dense` after such a layer")
def keras_zeros_and_dense() -> None:
    layers = pytest.importorskip("keras").layers
    dense = layers.Dense(5, bias_initializer="ones")
    x = np.where(MASK[..., None], X, 0)
    model, rnn = keras_pair(
        layers.Masking(0.0), layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True)), dense, masking=True
    )
    theirs, output = np.asarray(model(x)), rnn(x, mask=MASK)[0]
    near(theirs[~MASK], np.ones((5, 5)))
    near(theirs, np.asarray(dense(output * MASK[..., None])))
    near(rnn.logits(x, mask=MASK), dense(output))
    assert rnn.metadata["keras mask"].endswith("here they give the readout of the state, which is held")


@line("Keras", "the output there with `zero_output_for_mask=True` and `unroll=True`")
def keras_zeros_unrolled() -> None:
    keras = pytest.importorskip("keras")
    layer = keras.layers.SimpleRNN(4, return_sequences=True, zero_output_for_mask=True, unroll=True)
    theirs = layer(X, mask=MASK)
    output, _ = rb.from_keras(layer)(X, mask=MASK)
    near(theirs, output if keras.backend.backend() in {"jax", "numpy"} else output * MASK[..., None])


@line("Keras", "`mask` for a layer after one with `go_backwards=True, return_sequences=True`")
def keras_mask_turned() -> None:
    layers = pytest.importorskip("keras").layers
    made = [layers.SimpleRNN(4, go_backwards=True, return_sequences=True) for _ in range(2)]
    theirs = [made[1](made[0](X, mask=MASK), mask=mask) for mask in (MASK, MASK[:, ::-1])]
    model, _ = keras_pair(*made)
    output, _ = rb.from_keras(model)(X, mask=MASK)
    near(theirs[1], output)
    assert abs(np.asarray(theirs[0]) - output).max() > 0.01


@line("Keras", "the loss there")
def keras_loss() -> None:
    keras = pytest.importorskip("keras")
    kl = keras.layers
    made = kl.Masking(0.0), kl.SimpleRNN(4, return_sequences=True), kl.Dense(5, activation="softmax")
    model, rnn = keras_pair(*made, masking=True)
    x, targets = np.where(MASK[..., None], X, 0), np.arange(B * T).reshape(B, T) % 5
    theirs = float(keras.losses.SparseCategoricalCrossentropy()(targets, model(x)))
    assert float(rnn.loss(x, targets, mask=MASK)) == pytest.approx(theirs, rel=1e-5)


@line("Keras", "padding")
def keras_padding() -> None:
    layer = pytest.importorskip("keras").layers.SimpleRNN(4, return_sequences=True, return_state=True)
    valid = np.arange(T) < np.array([[T], [2]])
    outputs, state = layer(X, mask=valid)
    rnn = rb.from_keras(layer)
    near(outputs, rnn(X, mask=valid)[0])
    output, h_n = rnn(X, lengths=[T, 2])
    near(state, h_n[0])
    near(np.where(valid[..., None], outputs, 0), output)


@line("Keras", "no steps")
def keras_no_steps() -> None:
    layer = pytest.importorskip("keras").layers.SimpleRNN(4, return_sequences=True)
    layer(X)
    with pytest.raises(IndexError):
        layer(X[:, :0])
    h_0 = normal(1, B, 4).astype("f4")
    output, h_n = rb.from_keras(layer)(X[:, :0], h_0)
    assert output.shape == (B, 0, 4)
    np.testing.assert_array_equal(h_n, h_0)


@line("Keras", "integers of shape (batch, seq_len, input_size)")
def keras_integers() -> None:
    model, rnn = keras_pair()
    ids = np.arange(B * T * 3).reshape(B, T, 3) % 3
    near(model(ids), rnn(ids)[0])
    tokens = rb.RNN(rnn.layers, batch_first=True, takes="tokens")
    with pytest.raises(rb.ShapeError, match=r"token ids in `x` must have shape \(batch, seq_len\)"):
        tokens(ids)
    assert tokens(ids[..., 0])[0].shape == (B, T, 4)


def of_keras(name: str, wanted: Callable[[Any], Any], **numbers: float) -> None:
    """Check an activation, as Keras has it, as it is read, and as its name has it by default here."""
    keras = pytest.importorskip("keras")
    z = np.linspace(-8, 8, 41, dtype="f4")
    near(keras.activations.get(name)(z), wanted(z))
    _, rnn = keras_pair(keras.layers.SimpleRNN(4, activation=name))
    cell: Any = rnn.layers[0].forward
    assert cell.activation == rb.Activation(name, **numbers)
    near(cell.activation(z), wanted(z))
    assert abs(rb.Activation(name)(z) - wanted(z)).max() > 0.01


@line("Keras", '`"hard_sigmoid"`')
def keras_hard_sigmoid() -> None:
    of_keras("hard_sigmoid", lambda z: np.clip(z + 3, 0, 6) / 6, alpha=1 / 6, beta=0.5)
    assert rb.Activation("hard_sigmoid") == rb.Activation("hard_sigmoid", alpha=0.2, beta=0.5)


@line("Keras", '`"leaky_relu"`')
def keras_leaky_relu() -> None:
    of_keras("leaky_relu", lambda z: np.where(z < 0, 0.2 * z, z), alpha=0.2)
    assert rb.Activation("leaky_relu") == rb.Activation("leaky_relu", alpha=0.01)
