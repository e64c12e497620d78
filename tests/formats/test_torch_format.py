"""torch's modules, state dicts and files: the same numbers as torch, and nothing lost in silence."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pt_files
import pytest
from bounds import logits_bound
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

import rnn_backends as rb
from rnn_backends.core.layers import named_arrays
from rnn_backends.testing import excess, reference
from rnn_backends.testing.reference import ROUNDOFF

DATA = Path(__file__).parents[1] / "data"
VALUES: Mapping[str, NDArray[Any]] = dict(np.load(DATA / "torch.npz"))


def saved(name: str) -> dict[str, NDArray[Any]]:
    """What torch says that a file of tests/data holds, in float64."""
    return {key.removeprefix(f"{name}/"): array for key, array in VALUES.items() if key.startswith(f"{name}/")}


def cells(rnn: rb.RNN) -> list[rb.Cell]:
    return [cell for layer in rnn.layers for cell, _ in layer.cells if isinstance(cell, rb.Cell)]


def cell(rnn: rb.RNN) -> rb.Cell:
    (only,) = cells(rnn)
    return only


def assert_same_bits(found: Any, wanted: Any) -> None:
    assert (found.dtype, found.shape, found.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())


# Files of torch, read without it


def test_layers_and_directions_are_where_torch_has_them() -> None:
    rnn, state = rb.load(DATA / "layers.pt", activation="tanh"), saved("layers.pt")
    places = ("l0", "l0_reverse", "l1", "l1_reverse")
    for place, found in zip(places, cells(rnn), strict=True):
        for name in ("weight_ih", "weight_hh"):
            assert_same_bits(getattr(found, name), state[f"{name}_{place}"].astype("f4"))
        first, second = (state[f"bias_{side}_{place}"].astype("f4") for side in ("ih", "hh"))
        assert_same_bits(found.bias, first + second)
    output, h_n = rnn.to(dtype="float64")(VALUES["x"])
    np.testing.assert_allclose(output, VALUES["output"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(h_n, VALUES["h_n"], rtol=0, atol=1e-6)


def test_the_network_of_a_checkpoint_is_found_and_computes_what_torch_does() -> None:
    rnn = rb.load(DATA / "checkpoint.pth", activation="relu", batch_first=True, readout_activation="softmax")
    assert rnn.batch_first
    np.testing.assert_allclose(rnn.to(dtype="float64").logits(VALUES["x"]), VALUES["logits"], rtol=0, atol=1e-6)


def test_an_rnn_cell_is_a_layer() -> None:
    found, state = cell(rb.load(DATA / "cell.pth", activation="relu")), saved("cell.pth")
    assert_same_bits(found.weight_ih, state["weight_ih"].astype("f4"))
    assert_same_bits(found.weight_hh, state["weight_hh"].astype("f4"))


@pytest.mark.parametrize("name", ["views.pt", "parameters.pt"])
def test_tensors_are_read_however_they_lie(name: str) -> None:
    found, state = cell(rb.load(DATA / name, activation="tanh")), saved(name)
    assert_same_bits(found.weight_ih, state["weight_ih_l0"].astype("f4"))
    assert_same_bits(found.weight_hh, state["weight_hh_l0"].astype("f4"))
    assert_same_bits(found.bias, state["bias_ih_l0"].astype("f4") + state["bias_hh_l0"].astype("f4"))


@pytest.mark.parametrize(("name", "dtype"), [("float16", "f2"), ("bfloat16", "f4"), ("float64", "f8")])
def test_every_floating_dtype_is_read_exactly(name: str, dtype: str) -> None:
    found = cell(rb.load(DATA / f"{name}.pt", activation="tanh"))
    assert found.bias is None
    for kind in ("weight_ih", "weight_hh"):
        assert_same_bits(getattr(found, kind), saved(f"{name}.pt")[f"{kind}_l0"].astype(dtype))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_either_byte_order_is_read(tmp_path: Path, order: str, dtype: str) -> None:
    arrays = {name: array.astype(dtype) for name, array in pt_files.cell().items()}
    found = cell(rb.load(pt_files.write(tmp_path / "m.pt", pt_files.members(arrays, order=order)), activation="tanh"))
    assert_same_bits(found.weight_ih, arrays["weight_ih_l0"])
    assert_same_bits(found.weight_hh, arrays["weight_hh_l0"])
    assert_same_bits(found.bias, arrays["bias_ih_l0"] + arrays["bias_hh_l0"])


def test_a_file_that_names_no_byte_order_is_little_endian(tmp_path: Path) -> None:
    held = pt_files.members()
    del held["byteorder"]
    found = cell(rb.load(pt_files.write(tmp_path / "m.pt", held), activation="tanh"))
    assert_same_bits(found.weight_hh, pt_files.cell()["weight_hh_l0"])


def test_tensors_of_one_storage_stay_one_array_and_the_file_may_go(tmp_path: Path) -> None:
    square = np.arange(16, dtype="f4").reshape(4, 4)
    shared = pt_files.plain("0", square)
    held = pt_files.members(
        {"weight_hh_l0": square},
        pt_files.dictionary({"weight_ih_l0": shared, "weight_hh_l0": shared}),
    )
    path = pt_files.write(tmp_path / "m.pt", held)
    found = cell(rb.load(path, activation="tanh"))
    assert found.weight_ih is found.weight_hh
    path.write_bytes(bytes(path.stat().st_size))  # what is mapped would change
    assert_same_bits(found.weight_ih, square)
    assert not found.weight_ih.flags.writeable


def test_what_is_saved_as_an_ordered_dict_with_versions_is_a_state_dict(tmp_path: Path) -> None:
    arrays = pt_files.cell()
    value = (
        pt_files.ORDERED_DICT
        + b")R"
        + pt_files.dictionary(
            {name: pt_files.plain(str(key), array) for key, (name, array) in enumerate(arrays.items())}
        )[1:]
        + b"}"
        + pt_files.text("_metadata")
        + b"}sb"
    )
    found = cell(rb.load(pt_files.write(tmp_path / "m.pt", pt_files.members(arrays, value)), activation="tanh"))
    assert_same_bits(found.weight_ih, arrays["weight_ih_l0"])


def test_torch_is_not_needed() -> None:
    program = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "flax", "jax", "onnx", "keras", "msgpack"}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocker())
import rnn_backends as rb
for path in sys.argv[1:]:
    g2 = "softmax" if path.endswith("checkpoint.pth") else None
    rb.load(path, activation="tanh", readout_activation=g2)
rb.from_torch(rb.load(path, activation="tanh").to_torch(), activation="tanh")
"""
    files = [DATA / name for name in ("layers.pt", "checkpoint.pth", "bfloat16.pt", "views.pt")]
    subprocess.run([sys.executable, "-c", program, *map(str, files)], check=True)


def test_importing_the_package_imports_no_format() -> None:
    program = "import rnn_backends, sys; print([m for m in sys.modules if m.startswith('rnn_backends.formats')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


# State dicts of arrays


@pytest.mark.parametrize("prefix", ["", "rnn.", "module.encoder.0.", "_orig_mod."])
@pytest.mark.parametrize("readout", ["fc", "module.head.2"])
def test_any_prefix_is_read(prefix: str, readout: str) -> None:
    state = {f"{prefix}{name}": array for name, array in pt_files.cell().items()}
    state |= {f"{readout}.weight": np.ones((2, 4), "f4"), f"{readout}.bias": np.full(2, 0.5, "f4")}
    rnn = rb.from_torch(state, activation="relu", readout_activation="softmax")
    assert_same_bits(cell(rnn).weight_ih, pt_files.cell()["weight_ih_l0"])
    assert cell(rnn).activation == rb.Activation("relu")
    assert rnn.readout is not None
    assert (rnn.readout.output_size, rnn.readout.activation) == (2, rb.Activation("softmax"))
    assert_same_bits(rnn.readout.bias, state[f"{readout}.bias"])


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_any_prefix_is_read_from_every_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    state = {f"net.rnn.{name}": array for name, array in pt_files.cell().items()}
    state["net.out.weight"] = np.ones((1, 4), "f4")
    if suffix == ".pt":
        pt_files.write(path, pt_files.members(state))
    elif suffix == ".npz":
        np.savez(path, **state)  # type: ignore[arg-type]  # NumPy's stubs take the names for options
    else:
        save_file(state, path)
    rnn = rb.load(path, activation="tanh", batch_first=True, readout_activation="identity")
    assert_same_bits(cell(rnn).weight_hh, pt_files.cell()["weight_hh_l0"])
    assert rnn.batch_first
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation("identity")


def test_the_biases_are_added_in_their_dtype() -> None:
    arrays = pt_files.cell()
    for dtype in ("f2", "f4", "f8"):
        state = {name: array.astype(dtype) for name, array in arrays.items()}
        wanted = state["bias_ih_l0"].astype(np.longdouble) + state["bias_hh_l0"].astype(np.longdouble)
        assert_same_bits(cell(rb.from_torch(state, activation="tanh")).bias, wanted.astype(dtype))


def test_the_caller_keeps_the_arrays() -> None:
    state = pt_files.cell()
    rnn = rb.from_torch(state, activation="tanh")
    before = cell(rnn).weight_ih.copy()
    state["weight_ih_l0"][:] = 7.0
    assert_same_bits(cell(rnn).weight_ih, before)
    written = rnn.to_torch()
    written["weight_ih_l0"][:] = 8.0
    assert_same_bits(cell(rnn).weight_ih, before)


def test_a_model_can_be_made_on_a_backend() -> None:
    rnn = rb.from_torch(pt_files.cell(), activation="tanh", backend="array_api_strict:device1")
    assert (rnn.backend.name, rnn.device) == ("array_api_strict", "device1")
    again = rb.from_torch(named_state(rnn), activation="tanh")
    assert_same_bits(cell(again).weight_hh, pt_files.cell()["weight_hh_l0"])


def named_state(rnn: rb.RNN) -> dict[str, Any]:
    """The arrays of a one-cell model on its own backend, under torch's names but for the one bias."""
    return {f"{name}_l0": array for name, array in named_arrays(cell(rnn))}


def with_(**more: Any) -> dict[str, Any]:
    return pt_files.cell() | {name.replace("__", "."): array for name, array in more.items()}


MATRIX = np.zeros((4, 4), "f4")
WRONG_STATES: dict[str, tuple[Mapping[Any, Any], str]] = {
    "nothing": ({}, "there is no recurrent network, with names such as .*, among none"),
    "no weight": (with_(h0=np.zeros(4, "f4")), "'h0', of shape .4,., may be the initial state; pass names={'h0': 'h_0'} if it is"),
    "a buffer": (with_(norm__running_mean=np.zeros(4)), "'norm.running_mean', of shape .* pass roles={'norm': 'ignore'}"),
    "half a weight norm": (with_(rnn__weight_hh_l0_g=MATRIX), "'rnn.weight_hh_l0_g', of shape .* are those of a recurrent layer that is no"),
    "a projection": (with_(weight_hr_l0=MATRIX), "'weight_hr_l0', of shape .* are those of a recurrent layer that is no"),
    "two readouts": (
        with_(fc1__weight=MATRIX, fc2__weight=MATRIX),
        "'fc1' .4 -> 4., 'fc2' .4 -> 4. may stand side by side or one after the other; pass roles=",
    ),
    "two networks": (with_(b__weight_ih_l0=MATRIX), "l1 must have weight_ih, weight_hh and bias, or .*; it has weight_ih"),
    "cells and layers": (with_(weight_ih=MATRIX), "'weight_ih_l0', 'weight_ih' are both weight_ih_l0 of one module; keep one"),
    "an embedding": (with_(emb__weight=np.zeros((9, 3), "f4")), r"'emb' \(3 -> 9\) fit by their sizes, but not where they stand, before or after the RNN"),
    "a vector for a readout": (with_(fc__weight=np.zeros(4, "f4")), "'fc.weight', of shape .4,., are those of an RMSNorm"),
    "a bias alone": (with_(fc__bias=np.zeros(4, "f4")), "'fc.bias', of shape .4,., is a bias without its weight"),
    "integers": (with_(weight_hh_l0=np.zeros((4, 4), "i8")), "`weight_hh` must be one of float16, .*; got int64"),
    "a list": (with_(weight_hh_l0=[[0.0]]), "the value of 'weight_hh_l0' must be an array.*; got list"),
    "a number for a name": ({0: MATRIX}, "the value of 0 must be an array, and its name a text"),
    "an LSTM": ({"weight_ih_l0": np.zeros((16, 3)), "weight_hh_l0": np.zeros((16, 4))}, "4 rows of gates .* an LSTM has"),
    "a GRU": ({"weight_ih_l0": np.zeros((12, 3)), "weight_hh_l0": np.zeros((12, 4))}, "3 rows of gates .* a GRU has"),
    "a long name": (with_(**{"\n" * 500: MATRIX}), r"'(\\n)+\.\.\., of shape \(4, 4\), belongs to none"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_STATES)
def test_what_is_not_understood_is_refused_by_name(kind: str) -> None:
    state, match = WRONG_STATES[kind]
    with pytest.raises(rb.FormatError, match=match) as caught:
        rb.from_torch(state, activation="tanh")
    assert "\n" not in str(caught.value)


def test_tanh_or_relu_is_not_guessed() -> None:
    with pytest.raises(rb.FormatError, match="do not record the activation of the cells; pass the right one"):
        rb.from_torch(pt_files.cell())
    with pytest.raises(rb.FormatError, match="do not record the activation of the cells; pass the right one"):
        rb.load(DATA / "layers.pt")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"activation": "tahn"}, "`activation` must be a callable or one of"),
        (
            {"activation": "tanh", "readout_activation": 3},
            "`readout_activation` must be a callable or one of",
        ),
        ({"activation": "tanh", "batch_first": 1}, "`batch_first` must be True or False; got 1"),
    ],
)
def test_impossible_options_are_argument_errors(options: dict[str, Any], match: str) -> None:
    with pytest.raises(rb.ArgumentError, match=match):
        rb.from_torch(pt_files.cell(), **options)
    with pytest.raises(rb.ArgumentError, match=match):
        rb.load(DATA / "layers.pt", **options)


def test_residual_is_an_option_of_flax_alone() -> None:
    with pytest.raises(
        rb.ArgumentError,
        match=r"`residual` is an option of Flax's parameters, not of torch's weights; leave `residual` out",
    ):
        rb.load(DATA / "layers.pt", activation="tanh", residual=False)


def test_one_output_is_no_softmax() -> None:
    state = with_(fc__weight=np.ones((1, 4), "f4"))
    with pytest.raises(rb.FormatError, match="a softmax over one output is 1 whatever the input"):
        rb.from_torch(state, activation="tanh", readout_activation="softmax")
    rnn = rb.from_torch(state, activation="tanh", readout_activation="identity")
    assert rnn.probabilities(np.zeros((2, 3), "f4")).shape == (2, 1)


@pytest.mark.parametrize("option", ["activation", "batch_first", "readout_activation"])
@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_a_file_that_records_all_takes_no_options(tmp_path: Path, suffix: str, option: str) -> None:
    rb.RNN.init(2, 3).save(tmp_path / f"m{suffix}")
    value = True if option == "batch_first" else "tanh"
    with pytest.raises(rb.FormatError, match=f"the file records .*; leave `{option}` out"):
        rb.load(tmp_path / f"m{suffix}", **{option: value})  # type: ignore[arg-type]  # each has its own type


@pytest.mark.parametrize(
    "wrong", [None, 3, "m.pt", [MATRIX], type("RNN", (), {"named_modules": len, "state_dict": len})]
)
def test_what_is_neither_a_module_nor_a_state_dict_is_refused(wrong: Any) -> None:
    match = "expected a torch module or a state dict, a mapping of arrays by name; got"
    with pytest.raises(rb.FormatError, match=match):
        rb.from_torch(wrong, activation="tanh")


# Back to torch


def draw_cell(features: int, **options: Any) -> rb.Cell:
    draw = np.random.default_rng(features)
    bias = draw.normal(size=4) if options.pop("bias", True) else None
    return rb.Cell(draw.normal(size=(4, features)), draw.normal(size=(4, 4)), bias, **options)


def test_a_state_dict_has_torchs_names_and_zeros_for_the_second_bias() -> None:
    rnn = rb.RNN([draw_cell(3)])
    state = rnn.to_torch()
    assert list(state) == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert_same_bits(state["bias_ih_l0"], cell(rnn).bias)
    assert_same_bits(state["bias_hh_l0"], np.zeros(4))


def test_a_state_dict_can_be_written_to_and_the_model_does_not_change() -> None:
    rnn = rb.RNN([draw_cell(1)], rb.Linear(np.ones((2, 4))))
    before = rnn.to_torch()
    for array in rnn.to_torch().values():
        np.add(array, 1, out=array)
    for name, array in rnn.to_torch().items():
        assert_same_bits(array, before[name])


def test_with_a_readout_it_is_that_of_a_module_of_two() -> None:
    state = rb.RNN([draw_cell(3, bias=False)], rb.Linear(np.ones((2, 4)), activation=lambda z: z)).to_torch()
    assert list(state) == ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "readout.weight"]


def test_where_some_cells_have_a_bias_the_others_have_zeros() -> None:
    state = rb.RNN([draw_cell(3, bias=False), draw_cell(4)]).to_torch()
    assert_same_bits(state["bias_ih_l0"], np.zeros(4))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_there_and_back_is_exact(dtype: str, bidirectional: bool) -> None:
    rnn = rb.RNN.init(3, 4, num_layers=3, bidirectional=bidirectional, output_size=2, activation="relu", seed=1)
    rnn = rnn.to(dtype=dtype)
    again = rb.from_torch(rnn.to_torch(), activation="relu", readout_activation="softmax")
    held, wanted = (dict(named_arrays((each.layers, each.readout))) for each in (again, rnn))
    assert held.keys() == wanted.keys()
    for name, array in held.items():
        assert_same_bits(array, wanted[name])


class Mine:
    hidden_size = 4

    def project(self, x: Any) -> Any:
        return x

    def step(self, projected: Any, h: Any) -> Any:
        return projected + h


INEXPRESSIBLE: dict[str, tuple[list[Any], str]] = {
    "clip": ([draw_cell(3, clip=2.0)], "nn.RNN has no clip; this network uses it"),
    "leak": ([draw_cell(3, leak=0.5)], "nn.RNN has no leak; this network uses it"),
    "sigmoid": ([draw_cell(3, activation="sigmoid")], "tanh or relu, one for all its cells; this network has sigmoid"),
    "a function": ([draw_cell(3, activation=lambda z: z)], "tanh or relu, one for all its cells; this network has"),
    "two activations": ([draw_cell(3), draw_cell(4, activation="relu")], "one for all its cells; .* has relu, tanh"),
    "reverse": ([rb.Layer(backward=draw_cell(3))], "runs all layers forward, or all in both directions"),
    "directions that differ": ([rb.Layer(draw_cell(3), draw_cell(3)), draw_cell(8)], "runs all layers forward, or all"),
    "a cell of one's own": ([Mine()], "of the classes Cell and RateCell alone; layer 0 has one of Mine"),
}


@pytest.mark.parametrize("kind", INEXPRESSIBLE)
def test_what_torch_cannot_compute_is_refused_by_name(kind: str) -> None:
    layers, match = INEXPRESSIBLE[kind]
    with pytest.raises(rb.FormatError, match=match):
        rb.RNN(layers).to_torch()


def test_a_readout_of_ones_own_is_no_linear_of_torch() -> None:
    class Twice(rb.Linear):
        def __call__(self, hidden: Any) -> Any:
            return 2 * super().__call__(hidden)

    with pytest.raises(rb.FormatError, match="torch's state dict holds a Linear readout only, not a Twice"):
        rb.RNN([draw_cell(3)], Twice(np.ones((2, 4)))).to_torch()


@pytest.mark.parametrize("name", ["m.pt", "m.pth"])
def test_pt_files_are_torchs_to_write(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        rb.FormatError, match=r"to write a model to must be .* make tensors of rnn.to_torch\(\) by torch.from_numpy"
    ):
        rb.RNN.init(2, 3).save(tmp_path / name)


# Against torch itself


def options_of_rnn() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "input_size": st.integers(1, 6),
            "hidden_size": st.integers(1, 6),
            "num_layers": st.integers(1, 3),
            "bidirectional": st.booleans(),
            "bias": st.booleans(),
            "batch_first": st.booleans(),
            "nonlinearity": st.sampled_from(["tanh", "relu"]),
        }
    )


def contract(module: Any, draw: np.random.Generator, torch: Any) -> None:
    """Give a module weights with which no error grows with time, and biases that do not cancel in their sum."""
    for name, parameter in module.named_parameters():
        value = draw.normal(size=parameter.shape)
        if "weight_hh" in name:
            value *= 0.8 / abs(value).sum(axis=1, keepdims=True)
        if "bias_" in name:
            value = abs(value)
        parameter.data = torch.tensor(value, dtype=parameter.dtype)


@settings(max_examples=40)
@given(options=options_of_rnn(), dtype=st.sampled_from(["float32", "float64"]), seed=st.integers(0, 2**32 - 1))
def test_modules_and_files_compute_what_torch_does(
    torch: Any, tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any], dtype: str, seed: int
) -> None:
    draw, path = np.random.default_rng(seed), tmp_path_factory.getbasetemp() / "any.pt"
    module = torch.nn.RNN(**options, dtype=getattr(torch, dtype), dropout=0.3 * (options["num_layers"] > 1)).eval()
    contract(module, draw, torch)
    cell_count = options["num_layers"] * (1 + options["bidirectional"])
    x = draw.normal(size=(7, 3, options["input_size"])).astype(dtype)
    h_0 = draw.normal(size=(cell_count, 3, options["hidden_size"])).astype(dtype)
    given_x = x.swapaxes(0, 1).copy() if options["batch_first"] else x
    with torch.no_grad():
        wanted = [part.numpy() for part in module(torch.from_numpy(given_x), torch.from_numpy(h_0))]
    torch.save(module.state_dict(), path)
    told = {"activation": options["nonlinearity"], "batch_first": options["batch_first"]}
    for rnn in (rb.from_torch(module), rb.load(path, **told), rb.from_torch(module.state_dict(), **told)):
        found = rnn(given_x, h_0)
        if options["batch_first"]:
            swapped = [(each[0].swapaxes(0, 1), each[1]) for each in (found, wanted)]
        else:
            swapped = [(each[0], each[1]) for each in (found, wanted)]
        bounds = reference(rnn.layers, x, h_0, dtype=dtype)
        for result in swapped:
            for part, bound in zip(result, bounds, strict=True):
                assert excess(part, bound) <= 1


@settings(max_examples=20)
@given(options=options_of_rnn(), dtype=st.sampled_from(["float32", "float64"]), seed=st.integers(0, 2**32 - 1))
def test_what_is_given_to_torch_comes_back_bit_by_bit(
    torch: Any, options: dict[str, Any], dtype: str, seed: int
) -> None:
    module = torch.nn.RNN(**options, dtype=getattr(torch, dtype))
    contract(module, np.random.default_rng(seed), torch)
    state = rb.from_torch(module).to_torch()
    other = torch.nn.RNN(**options, dtype=getattr(torch, dtype))
    other.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    again = rb.from_torch(other).to_torch()
    assert state.keys() == again.keys()
    for name, array in state.items():
        assert_same_bits(again[name], array)


def network(torch: Any, *, embedding_size: int | None, bidirectional: bool, dtype: str) -> Any:
    class Network(torch.nn.Module):  # type: ignore[misc]  # torch is an argument
        def __init__(self) -> None:
            super().__init__()
            if embedding_size is not None:
                self.embedding = torch.nn.Embedding(9, 3, padding_idx=0)
            self.rnn = torch.nn.RNN(3, 5, bidirectional=bidirectional)
            self.dropout = torch.nn.Dropout(0.5)
            self.fc = torch.nn.Linear(10 if bidirectional else 5, 4)
            self.softmax = torch.nn.Softmax(dim=-1)

        def forward(self, x: Any) -> Any:
            x = self.embedding(x) if embedding_size is not None else x
            return self.fc(self.dropout(self.rnn(x)[0]))

    return Network().to(getattr(torch, dtype)).eval()


@settings(max_examples=20)
@given(
    embedding_size=st.sampled_from([None, 9]),
    bidirectional=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_networks_with_readout_and_embedding_compute_what_torch_does(
    torch: Any, embedding_size: int | None, bidirectional: bool, dtype: str, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    module = network(torch, embedding_size=embedding_size, bidirectional=bidirectional, dtype=dtype)
    contract(module, draw, torch)
    x = draw.normal(size=(6, 2, 3)).astype(dtype) if embedding_size is None else draw.integers(0, 9, (6, 2))
    with torch.no_grad():
        wanted = module(torch.from_numpy(x))
        wanted_p = module.softmax(wanted).numpy()
    rnn = rb.from_torch(module)
    # The folded product is judged as what torch computes: E x is the input, with its own bound.
    layers = rnn.layers
    if embedding_size is not None:
        with torch.no_grad():
            x_torch = module.embedding(torch.from_numpy(x)).numpy()
        layers = rb.from_torch({f"r.{k}": v for k, v in module.rnn.state_dict().items()}, activation="tanh").layers
        bound = reference(layers, x_torch, dtype=dtype)[0]
    else:
        bound = reference(layers, x, dtype=dtype)[0]
    bounds = logits_bound(rnn, bound, dtype)
    assert excess(wanted.numpy(), bounds) <= 1
    assert excess(rnn.logits(x), bounds) <= 1
    np.testing.assert_allclose(rnn.probabilities(x), wanted_p, rtol=0, atol=64 * ROUNDOFF[dtype])


def test_an_rnn_cell_of_torch_is_a_layer(torch: Any) -> None:
    module = torch.nn.RNNCell(3, 4, nonlinearity="relu", dtype=torch.float64)
    contract(module, np.random.default_rng(0), torch)
    rnn = rb.from_torch(module)
    x, h = np.random.default_rng(1).normal(size=(6, 2, 3)), torch.zeros(2, 4, dtype=torch.float64)
    bounds = reference(rnn.layers, x)[0]
    states = []
    for step in torch.from_numpy(x):
        h = module(step, h)
        states.append(h.detach().numpy())
    assert excess(np.stack(states), bounds) <= 1
    assert excess(rnn(x)[0], bounds) <= 1


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_tensors_of_every_dtype_are_taken(torch: Any, name: str) -> None:
    module = torch.nn.RNN(3, 4, dtype=getattr(torch, name))
    found = cell(rb.from_torch(module))
    wanted = module.weight_hh_l0.detach()
    assert_same_bits(found.weight_hh, (wanted.float() if name == "bfloat16" else wanted).numpy())


def test_the_files_of_the_tests_are_what_this_torch_reads(torch: Any) -> None:
    for name in ("layers.pt", "views.pt", "cell.pth", "bfloat16.pt", "float16.pt", "float64.pt"):
        held = torch.load(DATA / name, weights_only=True)
        assert {key: tensor.double().numpy().tolist() for key, tensor in held.items()} == {
            key: array.tolist() for key, array in saved(name).items()
        }
