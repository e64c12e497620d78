"""The pure function: parity on drawn shapes, outside witnesses, tracing, differentiation, refusals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import array_api_strict as strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rnn_backends as rb
from rnn_backends.core.arrays import Array
from rnn_backends.core.layers import RecurrentCell
from rnn_backends.core.parameters import map_arrays
from rnn_backends.core.recurrence import Recurrence, each_direction, scan, scan_layer
from rnn_backends.testing import Case, cases, excess, reference
from rnn_backends.testing.cases import ACTIVATIONS, Draw


@st.composite
def drawn_cases(draw: st.DrawFn, dtype: str) -> Case:
    sizes = st.integers(0, 6), st.integers(0, 4), st.integers(1, 6), st.integers(1, 7)
    seq_len, batch, input_size, hidden_size = (draw(size) for size in sizes)
    lengths = draw(st.lists(st.integers(0, seq_len), min_size=batch, max_size=batch))
    return Draw(dtype, draw(st.integers(0, 2**32))).case(
        shape=(seq_len, batch, input_size, hidden_size),
        sides=draw(st.sampled_from(["f", "b", "fb"])),
        layers=draw(st.integers(1, 3)),
        h_0=draw(st.booleans()),
        lengths=draw(st.none() | st.just(lengths)),
        tokens=draw(st.booleans()),
        bias=draw(st.booleans()),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        clip=draw(st.none() | st.floats(0.125, 2.0)),
        leak=draw(st.none() | st.floats(0.125, 1.0)),
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@given(data=st.data())
def test_drawn_networks_agree_with_the_reference(dtype: str, data: st.DataObject) -> None:
    case = data.draw(drawn_cases(dtype))
    lengths = None if case.lengths is None else np.array(case.lengths, np.int64)
    got = rb.forward(case.layers, case.x, case.h_0, lengths=lengths)
    for actual, wanted in zip(got, reference(*case, dtype=dtype), strict=True):
        assert excess(actual, wanted) <= 1.0


@given(data=st.data())
def test_a_split_sequence_and_a_permuted_batch_change_nothing(data: st.DataObject) -> None:
    case = data.draw(drawn_cases("float64").filter(lambda case: all(layer.backward is None for layer in case.layers)))
    cut = data.draw(st.integers(0, case.x.shape[0]))
    order = data.draw(st.permutations(range(case.x.shape[1])))
    lengths = np.full(case.x.shape[1], case.x.shape[0]) if case.lengths is None else np.array(case.lengths, np.int64)
    output, h_n = reference(case.layers, case.x, case.h_0, list(lengths))
    x, h_0 = case.x[:, order], None if case.h_0 is None else case.h_0[:, order]
    first, state = rb.forward(case.layers, x[:cut], h_0, lengths=np.minimum(lengths, cut)[order])
    second, last = rb.forward(case.layers, x[cut:], state, lengths=np.maximum(lengths - cut, 0)[order])
    assert (
        excess(
            np.concatenate([first, second]),
            output._replace(value=output.value[:, order], error=output.error[:, order]),
        )
        <= 1
    )
    assert excess(last, h_n._replace(value=h_n.value[:, order], error=h_n.error[:, order])) <= 1


def test_by_hand() -> None:
    """Two steps of one unit, computed with a pocket calculator's formulas."""
    cell = rb.Cell(np.array([[0.5]]), np.array([[-0.25]]), np.array([0.1]))
    output, h_n = rb.forward([cell], np.array([[[1.0]], [[2.0]]]), np.array([[[0.4]]]))
    first = np.tanh(0.5 * 1.0 - 0.25 * 0.4 + 0.1)
    second = np.tanh(0.5 * 2.0 - 0.25 * first + 0.1)
    np.testing.assert_allclose(output.ravel(), [first, second], rtol=1e-15)
    assert h_n.shape == (1, 1, 1)
    assert h_n.item() == output[-1].item()


def golden() -> dict[str, Any]:
    """The case `RNN_bidirectional_bias_initial_zigged_batch` of ONNX Runtime's tests."""
    x = np.array([1.64644051, 2.14556813, 1.80829012, 1.63464952, 1.27096438, 1.93768239, 1.31276166, 2.67531896,
                  2.89098835, 1.15032458, 1.30798471, 0.0777787, 1.64898741, 1.30596721, 1.26110339, 0.99100447,
                  0, 0, 0, 0]).reshape(2, 5, 2)  # fmt: skip
    w = np.array([0.4317745, 0.37378395, -1.0386457, -0.22681296, 0.4418987, 0.49973935, 0.47248289, -0.63369429,
                  0.89542073, 0.69698066, 0.65118814, 1.0828459]).reshape(2, 3, 2)  # fmt: skip
    r = np.array([-0.24072374, -0.29326528, -0.91741192, 0.5447638, 0.53938544, 0.79502326, -0.59813821,
                  0.020413321, -0.52225035, -0.4292987, -0.14766316, -0.91084105, 0.23699039, 0.064034894,
                  0.089069292, -0.12803128, -0.081178986, 0.967533]).reshape(2, 3, 3)  # fmt: skip
    b = np.array([[-0.44529742, 0.80094892, -1.0028138], [0.57412368, 0.13440208, -0.85748988]])
    y = np.array([-0.58767605, 0.69586837, -0.48001164, -0.71697658, 0.99646497, 0.9980582, 0.8678354, -0.94409049,
                  0.8424542, -0.37213817, 0.99391747, 0.99555576, 0.12221602, -0.31430662, -0.42285997, -0.62726945,
                  0.988343, 0.9956606, 0.91737539, -0.92293501, 0.78396499, -0.87013513, 0.99671143, 0.9990834,
                  0.51060104, -0.95055139, -0.12672578, -0.51847482, 0.99931973, 0.99655205, -0.92063117,
                  0.93283325, -0.93614483, 0.1513377, 0.90150106, 0.74947751, 0.91569924, -0.96036619, 0.89311725,
                  -0.13006453, 0.98576784, 0.98875856, -0.28076148, -0.04275616, -0.75480938, -0.84641802,
                  0.98438591, 0.96007115, *[0] * 12]).reshape(2, 5, 6)  # fmt: skip
    y_h = np.array([0.51060104, -0.95055139, -0.12672578, -0.28076148, -0.04275616, -0.75480938, -0.71697658,
                    0.99646497, 0.9980582, 0.1513377, 0.90150106, 0.74947751]).reshape(2, 2, 3)  # fmt: skip
    layer = rb.Layer(*(rb.Cell(w[d], r[d], b[d]) for d in range(2)))
    return {"layer": layer, "x": x.swapaxes(0, 1), "y": y.swapaxes(0, 1), "y_h": y_h}


def test_golden_values_of_onnx_runtime() -> None:
    case = golden()
    output, h_n = rb.forward([case["layer"]], case["x"], np.full((2, 2, 3), 1.2), lengths=np.array([5, 3]))
    np.testing.assert_allclose(output, case["y"], rtol=0, atol=3e-7)
    np.testing.assert_allclose(h_n, case["y_h"], rtol=0, atol=3e-7)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@given(data=st.data())
def test_torch_is_a_witness(nonlinearity: str, data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    sizes = [data.draw(st.integers(1, 6)) for _ in range(4)]
    seq_len, batch, input_size, hidden_size = sizes
    layers, bidirectional = data.draw(st.integers(1, 3)), data.draw(st.booleans())
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    options = {"num_layers": layers, "nonlinearity": nonlinearity, "bidirectional": bidirectional}
    witness = torch.nn.RNN(input_size, hidden_size, dtype=torch.float64, **options)
    weights = {name: p.detach().numpy() for name, p in witness.named_parameters()}

    def cell(suffix: str) -> rb.Cell:
        bias = weights[f"bias_ih_{suffix}"] + weights[f"bias_hh_{suffix}"]
        return rb.Cell(weights[f"weight_ih_{suffix}"], weights[f"weight_hh_{suffix}"], bias, nonlinearity)

    stack = [rb.Layer(cell(f"l{k}"), cell(f"l{k}_reverse") if bidirectional else None) for k in range(layers)]
    lengths = np.array([data.draw(st.integers(1, seq_len)) for _ in range(batch)])
    x, h_0 = (
        torch.randn(seq_len, batch, input_size),
        torch.randn(layers * (1 + bidirectional), batch, hidden_size),
    )
    x, h_0 = x.double(), h_0.double()
    pack, pad = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    with torch.no_grad():
        packed, wanted_h_n = witness(pack(x, torch.tensor(lengths), enforce_sorted=False), h_0)
        wanted, _ = pad(packed, total_length=seq_len)
    output, h_n = rb.forward(stack, x.numpy(), h_0.numpy(), lengths=lengths)
    bounds = reference(stack, x.numpy(), h_0.numpy(), list(lengths))
    for ours, theirs, bound in zip((output, h_n), (wanted, wanted_h_n), bounds, strict=True):
        assert excess(ours, bound) <= 1.0
        assert excess(theirs.numpy(), bound) <= 1.0


def test_nothing_is_modified_and_views_are_as_good_as_copies() -> None:
    case = Draw("float32", 0).case(sides="fb", layers=2, h_0=True, shape=(6, 4, 3, 5))
    for array in [case.x, case.h_0]:
        assert array is not None
        array.flags.writeable = False
    wanted = rb.forward(case.layers, case.x, case.h_0)
    backwards = np.ascontiguousarray(case.x[::-1, :, ::-1])[::-1, :, ::-1]
    spread = np.repeat(case.x, 2, axis=1)[:, ::2]
    for x in (backwards, spread, np.asfortranarray(case.x)):
        for got, value in zip(rb.forward(case.layers, x, case.h_0), wanted, strict=True):
            np.testing.assert_allclose(got, value, rtol=0, atol=2**-22)


# Tracing and differentiation.


def loss_of(weights: Any, cell: rb.Cell, x: Array, lengths: Array) -> Array:
    """A smooth function of the parameters, through both directions, clip and leak."""
    changed = replace(cell, weight_ih=weights[0], weight_hh=weights[1], bias=weights[2])
    output, h_n = rb.forward([rb.Layer(changed, changed)], x, lengths=lengths)
    return (output**2).sum() + (h_n**3).sum()


@pytest.fixture
def differentiable() -> tuple[rb.Cell, Any, Any]:
    draw = Draw("float64", 5)
    cell = draw.cell(3, 4, activation="softplus", clip=5.0, leak=0.5)
    return cell, draw.normal(5, 2, 3), np.array([5, 3])


def central_differences(cell: rb.Cell, x: Any, lengths: Any) -> list[Any]:
    weights = [np.array(w) for w in (cell.weight_ih, cell.weight_hh, cell.bias)]
    gradients = [np.zeros_like(w) for w in weights]
    for weight, gradient in zip(weights, gradients, strict=True):
        for place in np.ndindex(weight.shape):
            kept, step, values = weight[place], 1e-5, []
            for sign in (1, -1):
                weight[place] = kept + sign * step
                values.append(loss_of(weights, cell, x, lengths))
            weight[place], gradient[place] = kept, (values[0] - values[1]) / (2 * step)
    return gradients


def test_torch_differentiates(differentiable: tuple[rb.Cell, Any, Any]) -> None:
    torch = pytest.importorskip("torch")
    cell, x, lengths = differentiable
    moved = map_arrays(torch.tensor, cell)
    weights = [w.requires_grad_() for w in (moved.weight_ih, moved.weight_hh, moved.bias)]
    x = torch.tensor(x)
    x[3:, 1] = torch.nan  # what padding holds is not differentiated through
    loss_of(weights, moved, x, torch.tensor(lengths)).backward()
    for weight, wanted in zip(weights, central_differences(*differentiable), strict=True):
        np.testing.assert_allclose(weight.grad.numpy(), wanted, rtol=1e-7, atol=1e-8)


def test_jax_traces_and_differentiates(differentiable: tuple[rb.Cell, Any, Any]) -> None:
    jax = pytest.importorskip("jax")
    cell, x, lengths = differentiable
    with jax.enable_x64(True):
        moved, x, lengths = (
            map_arrays(jax.numpy.asarray, cell),
            jax.numpy.asarray(x),
            jax.numpy.asarray(lengths),
        )
        weights = [moved.weight_ih, moved.weight_hh, moved.bias]
        x = x.at[3:, 1].set(jax.numpy.nan)
        gradients = jax.jit(jax.grad(lambda w, x, n: loss_of(w, moved, x, n)))(weights, x, lengths)
        for gradient, wanted in zip(gradients, central_differences(*differentiable), strict=True):
            np.testing.assert_allclose(np.asarray(gradient), wanted, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.name)
def test_activations_differentiate_at_0_and_far_out(activation: rb.Activation) -> None:
    torch = pytest.importorskip("torch")
    z = torch.tensor([-1000.0, -3.0, -0.5, 0.0, 0.5, 3.0, 1000.0], dtype=torch.float64, requires_grad=True)
    activation(z).sum().backward()
    step, points = 1e-6, z.detach()
    wanted = (activation(points + step) - activation(points - step)) / (2 * step)
    kinks = activation.name in {"relu", "leaky_relu", "clipped_relu", "elu", "softsign"}
    for at, got, value in zip(points, z.grad, wanted, strict=True):
        assert (at == 0 and kinks) or abs(got - value) < 1e-7


# Where values cannot be read.


def test_ids_and_lengths_that_cannot_be_read_poison_their_sequence(backend: str) -> None:
    place = rb.get_backend(backend)
    if place.owns(np.empty(0)):
        pytest.skip("NumPy arrays are read")
    _, _, device = backend.partition(":")
    device = place.device_name(device)
    cell = map_arrays(lambda a: place.from_host(a, "float32", device), Draw("float32", 0).cell(4, 3))
    ids = place.from_host(np.array([[0, 1, 2], [4, -2, 3], [0, 1, 2]]), "int32", device)
    output = rb.to_numpy(rb.forward([cell], ids)[0])
    assert np.isnan(output[1:, :2]).all()
    assert not np.isnan(output[:1]).any()
    assert not np.isnan(output[:, 2]).any()
    x = place.from_host(np.ones((3, 3, 4)), "float32", device)
    lengths = place.from_host(np.array([4, -1, 2]), "int32", device)
    _, h_n = rb.forward([cell], x, lengths=lengths)
    assert np.isnan(rb.to_numpy(h_n)[0, :2]).all()
    assert not np.isnan(rb.to_numpy(h_n)[0, 2]).any()


# Cells of the user's.


@dataclass(frozen=True)
class Gated:
    """A minimal gated unit: its projection is twice as wide as its state."""

    weight_ih: Array
    weight_hh: Array
    hidden_size: int

    def project(self, x: Array) -> Array:
        return x @ self.weight_ih.T

    def step(self, projected: Array, h: Array) -> Array:
        n = self.hidden_size
        gate = rb.Activation("sigmoid")(projected[:, :n] + h @ self.weight_hh[:n, :].T)
        return (1.0 - gate) * h + gate * rb.Activation("tanh")(projected[:, n:] + (gate * h) @ self.weight_hh[n:, :].T)


def test_a_cell_of_the_users_runs_on_every_backend(backend: str) -> None:
    draw = Draw("float32", 0)
    cell, x = Gated(draw.normal(10, 4), draw.normal(10, 5), 5), draw.normal(6, 3, 4)
    h = np.zeros((3, 5))
    for t in range(6):
        z = x[t].astype(float) @ cell.weight_ih.T
        gate = 1 / (1 + np.exp(-(z[:, :5] + h @ cell.weight_hh[:5].T)))
        h = (1 - gate) * h + gate * np.tanh(z[:, 5:] + (gate * h) @ cell.weight_hh[5:].T)
    rnn = rb.RNN([cell, draw.cell(5, 5)]).to(backend)
    output, h_n = rnn(x)
    assert output.shape == (6, 3, 5)
    np.testing.assert_allclose(rb.to_numpy(h_n)[0], h, atol=1e-6)
    assert "hidden_state_l0" in rnn.trace(x)
    assert "sum_l0" not in rnn.trace(x)


def test_a_subclass_of_the_cell_takes_its_own_steps(backend: str) -> None:
    class Doubled(rb.Cell):
        def step(self, projected: Array, h: Array) -> Array:
            return 2.0 * super().step(projected, h)

    plain, x = Draw("float32", 0).cell(4, 5), Draw("float32", 1).normal(3, 2, 4)
    doubled = Doubled(plain.weight_ih, plain.weight_hh, plain.bias)
    h = np.zeros((2, 5))
    for t in range(3):
        h = 2.0 * np.tanh(x[t] @ plain.weight_ih.T + h @ plain.weight_hh.T + plain.bias)
    np.testing.assert_allclose(rb.to_numpy(rb.RNN([doubled]).to(backend)(x)[1])[0], h, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bound_stays_small_enough_to_mean_something(dtype: str) -> None:
    for feature, case in cases(dtype).items():
        output, _ = reference(*case, dtype=dtype)
        assert output.error.max(initial=0.0) < 2**18 * np.finfo(dtype).eps, feature


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("step", lambda h: h[:1, :], r"step of the cell must return an array of shape \(3, 5\); got one of shape \(1, 5\)"),
        ("step", lambda h: (h, h), r"step of the cell must return an array of shape \(3, 5\); got a tuple"),
        ("step", lambda h: None, r"step of the cell must return an array of shape \(3, 5\); got a NoneType"),
        ("project", lambda z: z[:1, :], r"project of the cell must return an array of shape \(18, K\); got one of shape \(1, 10\)"),
        ("project", lambda z: [z], r"project of the cell must return an array of shape \(18, K\); got a list"),
    ],
)  # fmt: skip
def test_what_a_cell_of_the_users_returns_is_checked(
    method: str, change: Callable[[Array], Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, draw = getattr(Gated, method), Draw("float32", 0)
    monkeypatch.setattr(Gated, method, lambda *arguments: change(right(*arguments)))
    with pytest.raises(rb.ShapeError, match=message):
        rb.forward([Gated(draw.normal(10, 4), draw.normal(10, 5), 5)], draw.normal(6, 3, 4))


def test_an_activation_of_the_users(backend: str) -> None:
    draw = Draw("float32", 0)
    cell, x = draw.cell(4, 5), draw.normal(6, 3, 4)
    leaky = replace(cell, activation=lambda z: 0.5 * (z + abs(z)) - 0.125 * (abs(z) - z))
    wanted, _ = reference([replace(cell, activation=rb.Activation("leaky_relu", 0.25))], x, dtype="float32")
    assert excess(rb.to_numpy(rb.RNN([leaky]).to(backend)(x)[0]), wanted) <= 2.0


# Recurrences of backends.


def on_numpy(case: Case, recurrence: Recurrence) -> tuple[Array, Array]:
    """Run a case on a backend of NumPy's arrays with that recurrence."""
    backend = replace(rb.get_backend("numpy"), name="other", recurrence=recurrence, devices=lambda: {"cpu": "cpu"})
    with rb.register_backend(backend):
        return rb.RNN(case.layers).to("other")(case.x, case.h_0, lengths=case.lengths)


def assert_right(got: tuple[Array, Array], case: Case) -> None:
    for actual, wanted in zip(got, reference(*case, dtype="float32"), strict=True):
        assert excess(actual, wanted) <= 1.0


BOTH_WAYS = Draw("float32", 0).case(sides="fb", layers=2, h_0=True, lengths=[7, 0, 3])


@pytest.mark.parametrize("call", ["forward", "stream"])
def test_weights_of_a_recurrence_are_numbers_of_the_dtype_of_its_states(call: str) -> None:
    """Also where they are given as float32, so that kernels may make 16 bits of them again."""
    seen: list[Any] = []

    def recurrence(layer: Any, x: Any, h_0: Sequence[Any], lengths: Any) -> None:
        seen.extend((array, h_0[0].dtype) for cell, _ in layer.cells for array in (cell.weight_ih, cell.weight_hh))

    rnn, x = rb.RNN.init(3, 5, num_layers=2, seed=1), np.ones((4, 2, 3), np.float16)
    with rb.register_backend(replace(rb.get_backend("numpy"), name="other", recurrence=recurrence)):
        half = rnn.to("other", "float16")
        half(x) if call == "forward" else half.stream(2)(x)
    assert len(seen) == 4
    for array, dtype in seen:
        assert (array.dtype, dtype) == (np.float32, np.float16)
        np.testing.assert_array_equal(array, array.astype(np.float16))


def test_a_recurrence_that_declines_leaves_the_layer_to_scan() -> None:
    asked = []

    def decline(layer: rb.Layer, x: Array, h_0: Sequence[Array], lengths: Array | None) -> None:
        asked.append(layer)

    assert_right(on_numpy(BOTH_WAYS, decline), BOTH_WAYS)
    assert len(asked) == 2
    stream = Draw("float32", 0).case(layers=2)
    with rb.register_backend(replace(rb.get_backend("numpy"), name="other", recurrence=decline)):
        output = rb.RNN(stream.layers).to("other").stream(stream.x.shape[1])(stream.x)
    assert excess(output, reference(*stream, dtype="float32")[0]) <= 1.0
    assert len(asked) == 4


def test_a_recurrence_is_called_for_both_directions_of_a_layer_at_once() -> None:
    walked = []

    def both(layer: rb.Layer, x: Array, h_0: Sequence[Array], lengths: Array | None) -> tuple[Array, list[Array]]:
        walked.append([reverse for _, reverse in layer.cells])
        size = h_0[0].shape[-1]
        output, last = np.empty((*x.shape[:2], 2 * size), x.dtype), []
        for k, (cell, reverse) in enumerate(layer.cells):
            output[..., k * size : (k + 1) * size], h_n = scan(cell, x, h_0[k], lengths, reverse)
            last.append(h_n)
        return output, last

    assert_right(on_numpy(BOTH_WAYS, both), BOTH_WAYS)
    assert walked == [[False, True], [False, True]]


@pytest.mark.parametrize("layers", [1, 2])
def test_last_states_may_be_one_array(layers: int) -> None:
    """Of a library whose arrays have no parts but by an index of all axes."""
    strict = rb.get_backend("array_api_strict")

    def walk(layer: rb.Layer, x: Array, h_0: Sequence[Array], lengths: Array | None) -> tuple[Array, Array]:
        output, last = scan_layer(layer, x, h_0, lengths)
        return output, strict.xp.stack(last)

    both = Draw("float32", 0).case(sides="fb", layers=layers, h_0=True)
    forth = Draw("float32", 1).case(layers=layers)
    with rb.register_backend(replace(strict, name="other", recurrence=walk)):
        got = rb.RNN(both.layers).to("other")(both.x, both.h_0)
        streamed = rb.RNN(forth.layers).to("other").stream(forth.x.shape[1])(forth.x)
    for actual, wanted in zip(got, rb.forward(both.layers, both.x, both.h_0), strict=True):
        np.testing.assert_allclose(rb.to_numpy(actual), wanted, rtol=0, atol=1e-6)
    np.testing.assert_allclose(rb.to_numpy(streamed), rb.forward(forth.layers, forth.x)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("declined", [(), (False,), (True,), (False, True)])
@pytest.mark.parametrize("sides", ["f", "b", "fb"])
def test_each_direction_leaves_the_cells_that_are_declined_to_scan(sides: str, declined: tuple[bool, ...]) -> None:
    walked = []

    def walk(
        cell: RecurrentCell, x: Array, h_0: Array, lengths: Array | None, reverse: bool
    ) -> tuple[Array, Array] | None:
        walked.append(reverse)
        return None if reverse in declined else scan(cell, x, h_0, lengths, reverse)

    case = Draw("float32", 0).case(sides=sides, layers=2, h_0=True, lengths=[7, 0, 3])
    assert_right(on_numpy(case, each_direction(walk)), case)
    assert walked == [side == "b" for side in sides] * 2


def test_scan_of_nothing_is_empty_and_of_the_states_dtype() -> None:
    cell = Draw("float32", 0).cell(4, 5)
    states, last = scan(cell, np.zeros((0, 2, 5), np.float32), np.zeros((2, 5), np.float16), None, False)
    assert states.dtype == last.dtype == np.float16


# Refusals.

CELL = Draw("float32", 0).cell(3, 4)
X = np.zeros((5, 2, 3), np.float32)
REFUSED = [
    ((X[0, 0],), {}, rb.ShapeError, r"`x` must have shape \(seq_len, batch, input_size\) or .*; got \(3,\)"),
    ((X[..., :2],), {}, rb.ShapeError, r"last axis of `x` must be input_size = 3; got shape \(5, 2, 2\)"),
    ((X.astype(np.float64),), {}, rb.DTypeError, "`x` must be float32, as the parameters are; got float64"),
    ((X.astype(bool),), {}, rb.DTypeError, "`x` must be float32"),
    ((X.astype(np.int32),), {}, rb.ShapeError, r"token ids in `x` must have shape .*; got \(5, 2, 3\)"),
    ((None,), {}, rb.DTypeError, "`x` must be an array; got NoneType"),
    ((np.ma.masked_array(X),), {}, rb.DTypeError, "`x` must not be a masked array, whose mask would be lost; fill it, and give `lengths`"),
    ((X, np.ma.zeros((1, 2, 4))), {}, rb.DTypeError, "`h_0` must not be a masked array"),
    ((np.full((5, 2), 3),), {}, rb.ArgumentError, r"every token id in `x` must be in 0..2; got 3 at \[0, 0\]"),
    ((np.array([0, 1, -1]),), {}, rb.ArgumentError, r"every token id in `x` .* got -1 at \[2\]"),
    ((X.tolist(),), {}, rb.DTypeError, "`x` must be an array; got list"),
    ((X, np.zeros((1, 3, 4), np.float32)), {}, rb.ShapeError, r"`h_0` must have shape .* = \(1, 2, 4\); got \(1, 3, 4\)"),
    ((X[:, 0], np.zeros((1, 2, 4), np.float32)), {}, rb.ShapeError, r"`h_0` .* \(num_cells, hidden_size\) = \(1, 4\)"),
    ((X, np.zeros((1, 2, 4))), {}, rb.DTypeError, "`h_0` must be float32"),
    ((X,), {"lengths": np.array([5])}, rb.ShapeError, r"`lengths` must have shape \(batch,\) = \(2,\), as x is \(seq_len, batch, \.\.\.\); got"),
    ((X,), {"lengths": np.array([5.0, 1.0])}, rb.DTypeError, "`lengths` must be integers; got float64"),
    ((X,), {"lengths": np.array([5, 6])}, rb.ArgumentError, r"every length in `lengths` must be in 0..5; got 6 at \[1\]"),
    ((X,), {"lengths": np.array([-1, 5])}, rb.ArgumentError, r"every length in `lengths` .* got -1 at \[0\]"),
    ((X[:, 0],), {"lengths": np.array([5])}, rb.ShapeError, r"`lengths` needs a batch of sequences"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "options", "error", "message"), REFUSED)
def test_what_is_refused(arguments: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rb.forward([CELL], *arguments, **options)


def test_numpy_scalars_do_not_promote() -> None:
    cell = replace(CELL, clip=np.float64(0.5), leak=cast(Any, np.float32(0.5)))
    assert rb.RNN([cell]).dtype == "float32"
    assert rb.forward([cell], X)[0].dtype == np.float32


def test_ids_in_padding_are_not_looked_at() -> None:
    ids = np.array([[0, 1], [2, -1], [0, -1]])
    output, _ = rb.forward([CELL], ids, lengths=np.array([3, 1]))
    wanted, _ = reference([CELL], np.maximum(ids, 0), lengths=[3, 1], dtype="float32")
    assert excess(output, wanted) <= 1


def test_mixtures_are_refused() -> None:
    x = strict.asarray(X)
    with pytest.raises(
        rb.BackendMismatchError,
        match=r"`layers\[0\].forward.weight_ih` is of numpy and `x` of array_api_strict",
    ):
        rb.forward([CELL], x)
    moved = map_arrays(strict.asarray, CELL)
    with pytest.raises(
        rb.DeviceError, match=r"`layers\[0\].forward.weight_ih` is on .*CPU_DEVICE.* and `x` on .*device1"
    ):
        rb.forward([moved], strict.asarray(X, device=strict.Device("device1")))
