"""`RNN`: its methods on every backend, host data in, and what it refuses."""

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.core.layers import named_arrays
from rnn_backends.testing.cases import Draw


def model(backend: str = "numpy", **options: Any) -> rb.RNN:
    settings = {"num_layers": 2, "output_size": 3, "seed": 1, **options}
    return rb.RNN.init(4, 5, backend=backend, **settings)


def test_init_is_uniform_within_its_bounds_and_reproducible() -> None:
    rnn = rb.RNN.init(400, 100, num_layers=2, bidirectional=True, output_size=50, dtype="float64", seed=3)
    again = rb.RNN.init(400, 100, num_layers=2, bidirectional=True, output_size=50, dtype="float64", seed=3)
    other = rb.RNN.init(400, 100, num_layers=2, bidirectional=True, output_size=50, dtype="float64", seed=4)
    first, second = rnn.layers
    assert rnn.readout is not None
    fan_ins = [(first.forward, 400), (first.backward, 400), (second.forward, 200), (second.backward, 200)]
    drawn = [(cell.weight_ih, fan_in) for cell, fan_in in fan_ins]  # type: ignore[union-attr]
    drawn += [(cell.weight_hh, 100) for cell, _ in fan_ins] + [(rnn.readout.weight, 200)]  # type: ignore[union-attr]
    for weight, fan_in in drawn:
        bound = fan_in**-0.5
        assert abs(weight).max() <= bound
        assert abs(weight).max() > 0.99 * bound
        assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.05)
    held, same, others = (dict(named_arrays(each.placed.network)) for each in (rnn, again, other))
    for name, weight in held.items():
        np.testing.assert_array_equal(weight, same[name])
        assert (weight != others[name]).all()


def test_init_options(backend: str) -> None:
    rnn = rb.RNN.init(4, 5, bias=False, activation=rb.Activation("leaky_relu", 0.5), output_size=2, backend=backend)
    (layer,) = rnn.layers
    assert isinstance(layer.forward, rb.Cell)
    assert layer.forward.bias is None
    assert rnn.readout is not None
    assert rnn.readout.bias is None
    assert layer.forward.activation == rb.Activation("leaky_relu", 0.5)
    (again,) = rb.RNN.init(4, 5).layers
    assert isinstance(again.forward, rb.Cell)
    np.testing.assert_array_equal(rb.to_numpy(layer.forward.weight_ih), again.forward.weight_ih)


def test_host_data_of_any_kind_is_taken(backend: str) -> None:
    rnn, x = model(backend), np.arange(24.0).reshape(3, 2, 4) / 24
    wanted = rb.to_numpy(rnn(x)[0])
    for same in (x.tolist(), x.astype(np.float32), x.astype(">f4"), list(x)):
        np.testing.assert_allclose(rb.to_numpy(rnn(same)[0]), wanted, atol=1e-6)
    ids = [[0, 3], [1, 2], [2, 2]]
    wanted = rb.to_numpy(rnn(np.array(ids))[0])
    for same_ids in (ids, np.array(ids, np.uint8), np.array(ids, np.int32)):
        np.testing.assert_array_equal(rb.to_numpy(rnn(same_ids)[0]), wanted)
    one_hot = rb.to_numpy(rnn(np.eye(4)[ids])[0])
    np.testing.assert_allclose(wanted, one_hot, atol=1e-6)


def test_loss_leaves_padding_out(backend: str) -> None:
    rnn, random = model(backend), np.random.default_rng(0)
    x, targets, lengths = random.normal(size=(5, 3, 4)), random.integers(0, 3, (5, 3)), [5, 0, 2]
    p = rb.to_numpy(rnn.probabilities(x, lengths=lengths)).astype(float)
    terms = [-np.log(p[t, b, targets[t, b]]) for b in range(3) for t in range(lengths[b])]
    for t, b in [(0, 1), (2, 2), (4, 2)]:
        targets[t, b] = -1
    assert float(rnn.loss(x, targets, lengths=lengths)) == pytest.approx(np.mean(terms), rel=1e-5)
    swapped = rb.RNN(rnn.layers, rnn.readout, batch_first=True)
    got = swapped.loss(x.swapaxes(0, 1), targets.T, lengths=lengths)
    assert float(got) == pytest.approx(np.mean(terms), rel=1e-5)
    assert np.isnan(float(rnn.loss(x, targets, lengths=[0, 0, 0])))
    assert np.isnan(float(rnn.loss(x[:0], targets[:0])))
    wanted = -np.log(rb.to_numpy(rnn.probabilities(x[:, 0]))[range(5), targets[:, 0]]).mean()
    assert float(rnn.loss(x[:, 0], targets[:, 0])) == pytest.approx(float(wanted), rel=1e-5)


def test_trace_holds_every_term_of_the_equation(backend: str) -> None:
    draw, lengths = Draw("float32", 0), [6, 0, 3]
    case = draw.case(shape=(6, 3, 4, 5), sides="fb", layers=2, h_0=True, clip=0.75)
    rnn = rb.RNN(case.layers, rb.Linear(draw.normal(2, 10))).to(backend)
    steps = {name: rb.to_numpy(step) for name, step in rnn.trace(case.x, case.h_0, lengths=lengths).items()}
    assert case.h_0 is not None
    x, valid = (
        np.where((np.arange(6)[:, None] < lengths)[..., None], case.x, 0),
        np.arange(6)[:, None] < lengths,
    )
    for k, layer in enumerate(case.layers):
        states = []
        for place, (cell, reverse) in enumerate(layer.cells):
            assert isinstance(cell, rb.Cell)
            end, h = f"_l{k}_reverse" if reverse else f"_l{k}", case.h_0[2 * k + place]
            previous = np.zeros((6, 3, 5), np.float32)
            for t in reversed(range(6)) if reverse else range(6):
                previous[t] = h
                h = np.where(valid[t][:, None], steps[f"hidden_state{end}"][t], h)
            terms = {
                "input_product": x @ cell.weight_ih.T,
                "recurrent_product": previous @ cell.weight_hh.T,
                "sum": x @ cell.weight_ih.T + previous @ cell.weight_hh.T + cell.bias,
            }
            terms["hidden_state"] = np.tanh(np.clip(terms["sum"], -0.75, 0.75))
            for name, term in terms.items():
                np.testing.assert_allclose(steps[name + end], np.where(valid[..., None], term, 0), atol=3e-6)
            states.append(steps[f"hidden_state{end}"])
        x = np.concatenate(states, axis=-1)
    np.testing.assert_allclose(steps["logits"], x @ rnn.to("numpy").readout.weight.T, atol=3e-6)
    assert len(steps) == 4 * 4 + 2
    tokens = rnn.trace([0, 1, 2])
    assert tokens["sum_l1_reverse"].shape == (3, 5)
    empty = rnn.trace(np.zeros((0, 2, 4)))
    assert empty["recurrent_product_l0"].shape == (0, 2, 5)
    whole, _ = rnn(case.x, case.h_0, lengths=lengths)
    first = rb.RNN(case.layers, batch_first=True).to(backend).trace(case.x.swapaxes(0, 1), case.h_0, lengths=lengths)
    of_first = rb.to_numpy(first["hidden_state_l1_reverse"]).swapaxes(0, 1)
    np.testing.assert_allclose(of_first, rb.to_numpy(whole)[..., 5:], rtol=0, atol=3e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_trace_of_half_precision(dtype: str) -> None:
    pytest.importorskip("torch")
    rnn = model("torch", dtype=dtype, num_layers=1)
    steps = {name: rb.to_numpy(step).astype(float) for name, step in rnn.trace(np.ones((3, 2, 4))).items()}
    np.testing.assert_allclose(np.tanh(steps["sum_l0"]), steps["hidden_state_l0"], atol=2**-7)


def test_repr_shows_sizes_and_place(backend: str) -> None:
    rnn = model(backend, bidirectional=True)
    name, _, device = backend.partition(":")
    assert repr(rnn) == (
        "RNN(input_size=4, hidden_size=5, num_layers=2, directions=forward+backward, activation=tanh, output_size=3, "
        f"num_parameters=293, dtype=float32, backend={name}, device={rnn.backend.device_name(device)})"
    )
    assert "output_size" not in repr(rb.RNN(rnn.layers))


@pytest.mark.parametrize("show", [repr, str])
def test_no_repr_prints_numbers(show: Any) -> None:
    rnn = model()
    stream = rnn.stream(2)
    stream(np.ones((3, 2, 4)))
    for shown in (rnn, rnn.placed, stream, rnn.backend, rnn.layers[0].forward):
        assert "[" not in show(shown)
        assert "\n" not in show(shown)
    assert show(stream) == show(rnn).replace("RNN(", "Stream(batch_size=2, ")
    assert show(rnn.placed) == show(rnn).replace("RNN(", "Placed(")


def test_backends_and_cells_are_shown_shortly() -> None:
    rnn = model()
    assert repr(rnn.backend) == "Backend('numpy')"
    activation = "Activation(name='tanh', alpha=None, beta=None)"
    assert (
        repr(rnn.layers[0].forward)
        == f"Cell(input_size=4, hidden_size=5, activation={activation}, clip=None, leak=None)"
    )


@dataclass(frozen=True)
class Sum:
    """A cell that states no size."""

    weight: Any

    def project(self, x: Any) -> Any:
        return x @ self.weight

    def step(self, projected: Any, h: Any) -> Any:
        return projected + h


def test_sizes_of_a_model() -> None:
    rnn = model(bidirectional=True)
    assert (rnn.input_size, rnn.hidden_size, rnn.num_layers) == (4, 5, 2)
    assert rnn.num_parameters == 2 * (5 * 4 + 25 + 5) + 2 * (5 * 10 + 25 + 5) + 3 * 10 + 3
    for name in ("input_size", "hidden_size", "num_layers", "num_parameters"):
        with pytest.raises(AttributeError):
            setattr(rnn, name, 1)
    own = rb.RNN([Sum(np.ones((4, 5))), rb.Cell(np.ones((5, 5)), np.ones((5, 5)))])
    assert (own.input_size, own.hidden_size, own.num_layers, own.num_parameters) == (None, None, 2, 70)
    assert "hidden_size" not in repr(own)


def test_all_but_layers_and_readout_are_given_by_name() -> None:
    rnn: Any = model()
    with pytest.raises(TypeError, match=r"RNN\.__init__\(\) takes from 2 to 3 positional arguments"):
        rb.RNN(rnn.layers, rnn.readout, True)  # type: ignore[arg-type, call-arg]
    with pytest.raises(TypeError, match=r"RNN\.to\(\) got an unexpected keyword argument 'device'"):
        rnn.to(device="cpu")
    with pytest.raises(TypeError, match=r"RNN\.__call__\(\) got an unexpected keyword argument 'length'"):
        rnn(np.ones((3, 2, 4)), length=[1, 2])


@pytest.mark.parametrize("dtype", ["float64", "f8", np.float64, np.dtype("float64"), float])
def test_dtypes_by_name_or_object(dtype: Any) -> None:
    rnn = rb.RNN.init(3, 4, dtype=dtype)
    assert rnn.dtype == model().to(dtype=dtype).dtype == rnn(np.ones((2, 1, 3)))[0].dtype == "float64"
    assert "dtype=float64" in repr(rnn)


def test_dtypes_of_torch(torch: Any) -> None:
    assert model().to(dtype=torch.float64).dtype == model("torch").to(dtype=torch.float64).dtype == "float64"


@pytest.mark.parametrize(("device", "line"), [("cpu", "numpy"), ("cuda:0", "cupy:0"), ("gpu", "cupy")])
def test_a_device_for_a_backend_gets_the_line_to_write(device: str, line: str) -> None:
    with pytest.raises(rb.UnknownBackendError, match=f"{device!r} is a device, not a backend .* Write '{line}', or"):
        model().to(device)


def test_a_model_of_a_class_of_ones_own_stays_one() -> None:
    class Own(rb.RNN):
        """A model with a name of its own."""

    assert type(Own.init(3, 4).to(dtype="float64")) is Own


def test_methods_can_be_pickled() -> None:
    for method in (rb.RNN.to, rb.RNN.predict, rb.RNN.stream):
        assert pickle.loads(pickle.dumps(method)) is method


@pytest.mark.parametrize("name", ["from_network", "init", "__call__", "predict", "generate", "to", "save", "stream"])
def test_a_wrong_argument_is_refused_in_the_name_of_rnn(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^RNN\.{name}\(\) got an unexpected keyword argument 'wrong'"):
        getattr(model(), name)(wrong=1)


def test_models_share_their_weights_but_not_their_choices() -> None:
    rnn = rb.RNN(model().layers, metadata={"source": "here"}, vocabulary="abcd")
    assert (rnn.metadata, rnn.vocabulary, rnn.batch_first, rnn.readout) == (
        {"source": "here"},
        "abcd",
        False,
        None,
    )
    moved = rnn.to("array_api_strict", "float64")
    assert (moved.dtype, moved.device, moved.metadata, moved.vocabulary) == (
        "float64",
        "CPU_DEVICE",
        rnn.metadata,
        "abcd",
    )
    assert (rnn.dtype, rnn.backend.name, rnn.device) == ("float32", "numpy", "cpu")
    for name in ("layers", "readout", "dtype", "backend", "device", "vocabulary", "metadata", "batch_first"):
        with pytest.raises(AttributeError):
            setattr(rnn, name, None)


def test_a_model_is_pickled_with_its_backend(backend: str) -> None:
    rnn = model(backend)
    again = pickle.loads(pickle.dumps(rnn))
    assert (again.backend, again.device) == (rnn.backend, rnn.device)
    first, second = dict(named_arrays((rnn.layers, rnn.readout))), dict(named_arrays((again.layers, again.readout)))
    assert first.keys() == second.keys()
    for name, weight in first.items():  # not the results, whose last bits depend on the weights' layout
        np.testing.assert_array_equal(rb.to_numpy(weight), rb.to_numpy(second[name]))


X = np.zeros((5, 2, 4))
REFUSED = [
    (lambda rnn: rnn(X[..., :3]), rb.ShapeError, r"last axis of `x` must be input_size = 4; got shape \(5, 2, 3\)"),
    (lambda rnn: rnn(X, np.zeros((2, 3, 5))), rb.ShapeError, r"`h_0` must have shape .* = \(2, 2, 5\); got \(2, 3, 5\)"),
    (lambda rnn: rnn(X, lengths=[5.0, 4.0]), rb.DTypeError, "`lengths` must hold integers; got list of dtype float64"),
    (lambda rnn: rnn(X, lengths=[5]), rb.ShapeError, r"`lengths` must have shape \(batch,\) = \(2,\), as x is \(seq_len, batch, \.\.\.\); got \(1,\)"),
    (lambda rnn: rnn(X, lengths=[6, 0]), rb.ArgumentError, r"every length in `lengths` must be in 0..5; got 6 at \[0\]"),
    (lambda rnn: rnn(X, lengths=[-1, 0]), rb.ArgumentError, r"got -1 at \[0\]"),
    (lambda rnn: rnn([[0, 4]]), rb.ArgumentError, r"every token id in `x` must be in 0..3; got 4 at \[0, 1\]"),
    (lambda rnn: rnn(np.array([[1, 2**63 + 5]], np.uint64)), rb.ArgumentError, r"in 0..3; got 9223372036854775813"),
    (lambda rnn: rnn([[0, 2**40]]), rb.ArgumentError, r"every token id in `x` must be in 0..3; got 1099511627776"),
    (lambda rnn: rnn("abc"), rb.VocabularyError, "text needs a model with a vocabulary"),
    (lambda rnn: rnn([[1.0], [1.0, 2.0]]), rb.DTypeError, "`x` must be an array or nested lists of numbers, of equal lengths; got list"),
    (lambda rnn: rnn(None), rb.DTypeError, "`x` must hold real numbers; got NoneType"),
    (lambda rnn: rnn(X > 0), rb.DTypeError, "`x` must hold real numbers; got ndarray of dtype bool"),
    (lambda rnn: rnn(np.ma.masked_less(X, 0)), rb.DTypeError, "`x` must not be a masked array, whose mask would be lost"),
    (lambda rnn: rnn(X + 1j), rb.DTypeError, "`x` must hold real numbers; got ndarray of dtype complex128"),
    (lambda rnn: rnn.loss(X, np.zeros((5, 3), int)), rb.ShapeError, r"`targets` must have shape \(5, 2\)"),
    (lambda rnn: rnn.loss(X, np.zeros((5, 2))), rb.DTypeError, "`targets` must hold integers; got ndarray of dtype float64"),
    (lambda rnn: rnn.loss(X, None), rb.DTypeError, "`targets` must hold the ids of the right classes; got None"),
    (lambda rnn: rnn.loss(X, np.full((5, 2), 3)), rb.ArgumentError, r"every target in `targets` must be in 0..2; got 3"),
    (lambda rnn: rb.RNN(rnn.layers).logits(X), rb.ArgumentError, "logits needs a readout, and this model has none"),
    (lambda rnn: rb.RNN(rnn.layers).probabilities(X), rb.ArgumentError, "probabilities needs a readout"),
    (lambda rnn: rb.RNN(rnn.layers).predict(X), rb.ArgumentError, "predict needs a readout"),
    (lambda rnn: rb.RNN(rnn.layers).loss(X, [0]), rb.ArgumentError, "loss needs a readout"),
    (lambda rnn: rb.RNN(rnn.layers, rb.Linear(rnn.readout.weight[:1, :], activation="sigmoid")).predict(X), rb.ArgumentError, "predict returns the largest of several outputs; this model has one"),
    (lambda rnn: rb.RNN(rnn.layers, rnn.readout.weight), rb.ArgumentError, "`readout` must be a Linear or a sequence of them; got"),
    (lambda rnn: rnn.to(dtype="int32"), rb.DTypeError, "`dtype` must be one of float16, bfloat16, float32, float64, by name or as an object"),
    (lambda rnn: rnn.to(dtype="bfloat16"), rb.DTypeError, "`dtype` 'bfloat16' is not on the backend"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_calls_that_are_refused(backend: str, call: Any, error: type[Exception], message: str) -> None:
    if "bfloat16" in message and "bfloat16" in rb.get_backend(backend).dtypes():
        pytest.skip("this backend has bfloat16")
    with pytest.raises(error, match=message):
        call(model(backend))


def test_loss_needs_a_softmax() -> None:
    readout = rb.Linear(np.ones((3, 5), np.float32), activation="sigmoid")
    with pytest.raises(
        rb.ArgumentError, match=r"loss is the cross-entropy of a softmax readout; g2 of this one is .*sigmoid"
    ):
        rb.RNN(model().layers, readout).loss(X, np.zeros((5, 2), int))


@pytest.mark.parametrize("size", [0, -1, 2.0, float("nan"), "3", True, None])
@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers"])
def test_sizes_that_are_refused(name: str, size: Any) -> None:
    sizes = {"input_size": 3, "hidden_size": 4, "num_layers": 1, name: size}
    with pytest.raises(rb.ArgumentError, match=f"`{name}` must be an integer of at least 1; got"):
        rb.RNN.init(**sizes)


def test_other_arguments_of_init_that_are_refused() -> None:
    with pytest.raises(rb.ArgumentError, match="`output_size` must be an integer of at least 1; got 0"):
        rb.RNN.init(3, 4, output_size=0)
    with pytest.raises(rb.ArgumentError, match="`seed` must be an integer of at least 0; got -1"):
        rb.RNN.init(3, 4, seed=-1)
    with pytest.raises(rb.DTypeError, match=r"`dtype` must be one of float16, .*; got 'float23'"):
        rb.RNN.init(3, 4, dtype="float23")
    wrong: Any = {"bidirectional": "no", "bias": 0}
    for name, value in wrong.items():
        with pytest.raises(rb.ArgumentError, match=f"`{name}` must be True or False; got {value!r}"):
            rb.RNN.init(3, 4, **{name: value})


def test_an_empty_batch_has_an_empty_list_of_lengths(backend: str) -> None:
    output, h_n = model(backend)(np.zeros((5, 0, 4)), lengths=[])
    assert (output.shape, h_n.shape) == ((5, 0, 5), (2, 0, 5))


def test_text_is_token_ids_where_there_is_a_vocabulary() -> None:
    rnn = rb.RNN.init(3, 4, output_size=3)
    rnn = rb.RNN(rnn.layers, rnn.readout, vocabulary="ab ")
    np.testing.assert_array_equal(rnn.predict("ab a"), rnn.predict([0, 1, 2, 0]))
    assert rnn.loss("ab ", "b a") == rnn.loss([0, 1, 2], [1, 2, 0])
    with pytest.raises(
        rb.VocabularyError, match="the character 'c' at line 1, column 3 is not in the model's vocabulary"
    ):
        rnn("abc")


def test_numpy_models_are_not_changed_through_views_of_the_callers_arrays() -> None:
    w = np.asfortranarray(np.ones((4, 3), np.float32))
    view = w[:]
    view.flags.writeable = False
    cell = rb.RNN([rb.Cell(view, np.eye(4, dtype=np.float32))]).layers[0].forward
    w[:] = 0
    assert isinstance(cell, rb.Cell)
    np.testing.assert_array_equal(cell.weight_ih, np.ones((4, 3)))


def test_numpy_models_are_not_changed_through_the_callers_arrays() -> None:
    w, x = np.ones((4, 3), np.float32), np.ones((2, 1, 3))
    rnn = rb.RNN([rb.Cell(w, np.eye(4, dtype=np.float32))])
    before = rnn(x)[0]
    w[:] = 0
    np.testing.assert_array_equal(rnn(x)[0], before)
    (layer,) = rnn.layers
    assert isinstance(layer.forward, rb.Cell)
    with pytest.raises(ValueError, match="read-only"):
        layer.forward.weight_ih[0] = 0
    (shared,) = rb.RNN([layer]).layers
    assert isinstance(shared.forward, rb.Cell)
    assert shared.forward.weight_ih is layer.forward.weight_ih


def test_weights_on_numpy_cannot_be_made_writable() -> None:
    for cell in (model().layers[0].forward, rb.RNN(model().layers).to(dtype="float64").layers[0].forward):
        assert isinstance(cell, rb.Cell)
        for weight in (cell.weight_ih, cell.weight_hh, cell.bias):
            assert weight is not None
            with pytest.raises(ValueError, match="cannot set WRITEABLE flag to True"):
                weight.setflags(write=True)


def test_numpy_models_are_not_changed_through_memory_that_is_not_numpys() -> None:
    memory = bytearray(np.ones((4, 3), np.float32).tobytes())
    foreign = np.frombuffer(memoryview(memory).toreadonly(), np.float32).reshape((4, 3), order="F")
    assert foreign.flags.f_contiguous
    assert not foreign.flags.writeable
    cell = rb.RNN([rb.Cell(foreign, np.eye(4, dtype=np.float32))]).layers[0].forward
    memory[:] = bytes(len(memory))
    assert isinstance(cell, rb.Cell)
    np.testing.assert_array_equal(cell.weight_ih, np.ones((4, 3)))


def test_metadata_are_a_copy_that_cannot_be_changed() -> None:
    given = {"source": "here"}
    rnn = rb.RNN(model().layers, metadata=given)
    given["source"] = "there"
    with pytest.raises(TypeError):
        rnn.metadata["source"] = "nowhere"  # type: ignore[index]
    assert rnn.metadata == {"source": "here"}


@pytest.mark.parametrize("activation", [lambda z: z.sum(), lambda z: z[:1], lambda _: None])
def test_activations_that_change_the_shape_are_refused(backend: str, activation: Any) -> None:
    cell = Draw("float32", 0).cell(4, 5, activation=activation)
    if "strict" in backend:  # its arrays have no method sum, and one index too few
        cell = Draw("float32", 0).cell(4, 5, activation=lambda z: z[:1, :])
    with pytest.raises(
        rb.ShapeError, match=r"`activation` must return an array of the shape that it is given, \(2, 5\)"
    ):
        rb.RNN([cell]).to(backend)(np.ones((3, 2, 4)))


def test_a_file_keeps_its_mode_and_a_link_its_target(tmp_path: Path) -> None:
    file, link = tmp_path / "model.npz", tmp_path / "link.npz"
    model().save(file)
    file.chmod(0o600)
    link.symlink_to(file)
    model(seed=2).save(link)
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o600
    written = dict(named_arrays(model(seed=2).placed.network))
    for name, weight in named_arrays(rb.load(file).placed.network):
        np.testing.assert_array_equal(weight, written[name])


def test_a_backend_without_devices_cannot_run() -> None:
    numpy = rb.get_backend("numpy")
    with (
        rb.register_backend(replace(numpy, name="bare", devices=dict)),
        pytest.raises(rb.BackendUnavailableError, match="the backend 'bare' has no device to run on"),
    ):
        rb.RNN.init(3, 4, backend="bare")
