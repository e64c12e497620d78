"""Modules that were saved whole are read as live ones are: by what they record, and with the same refusals."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fake_torch as ft
import numpy as np
import pt_files
import pytest
from plain import network, of_torch
from saved_modules import Saved, saved
from ways import follow

import rnn_backends as rb

X = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("f4")
IDENTITY: dict[str, Any] = {"readout_activation": "identity"}


def applied(module: Any, x: Any) -> Any:
    """What a Linear gives."""
    return x @ module._state["weight"].T + module._state["bias"]


def normed(module: Any, x: Any) -> Any:
    """What a BatchNorm gives, where nothing is trained."""
    mean, var, weight, bias = module._state.values()
    return (x - mean) / np.sqrt(var + module.eps) * weight + bias


def same(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def tanh_and_relu() -> Any:
    first, second = ft.sized(4, 3), ft.sized(5, 4)
    first.mode = "RNN_TANH"
    return ft.net(a=first, b=second)


def two_names() -> Any:
    fc = ft.linear(4, 4)
    return ft.net(rnn=ft.rnn(), fc=fc, out=fc)


READ: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "an nn.RNN": (ft.rnn, {}),
    "RNNs of two activations": (tanh_and_relu, {}),
    "a head in an nn.Sequential": (
        lambda: ft.net(
            rnn=ft.sized(4, 3), head=ft.sequential(ft.linear(4, 6), ft.fake("Tanh"), ft.linear(6, 5), ft.softmax())
        ),
        {},
    ),
    "a BatchNorm with an eps of its own": (
        lambda: ft.net(rnn=ft.sized(4, 3), head=ft.sequential(ft.linear(4, 6), ft.norm(6))), IDENTITY,
    ),
    "an activation after the last Linear": (lambda: ft.net(rnn=ft.rnn(), fc=ft.linear(), last=ft.softmax("Sigmoid")), {}),
    "one module of two names": (two_names, IDENTITY),
    "what computes nothing": (
        lambda: ft.net(rnn=ft.rnn(), drop=ft.fake("Dropout"), fc=ft.linear(), same=ft.fake("Identity")), IDENTITY,
    ),
    "what is ignored": (
        lambda: ft.net(rnn=ft.rnn(), ln=ft.fake("LayerNorm"), fc=ft.linear()), {**IDENTITY, "roles": {"ln": "ignore"}},
    ),
    "a clipped ReLU": (
        lambda: ft.net(
            rnn=ft.rnn(), head=ft.sequential(ft.linear(4, 6), ft.fake("ReLU6", min_val=0.0, max_val=6.0))
        ),
        {},
    ),
    "an activation with a number of its own": (
        lambda: ft.net(rnn=ft.rnn(), head=ft.sequential(ft.linear(4, 6), ft.fake("LeakyReLU", negative_slope=0.3))), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_a_module_gives_the_same_saved_and_live(tmp_path: Path, kind: str) -> None:
    make, options = READ[kind]
    live, read = rb.from_torch(make(), **options), rb.load(saved(make(), tmp_path / "m.pt"), **options)
    x = X if not live.batch_first else X.swapaxes(0, 1)
    for one, other in ((live(x)[0], read(x)[0]), *([(live.logits(x), read.logits(x))] if live.readout else [])):
        np.testing.assert_array_equal(one, other)
    assert str(live.readout) == str(read.readout)


REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "a LayerNorm without arrays": (lambda: ft.net(rnn=ft.rnn(), norm=ft.fake("LayerNorm"), fc=ft.linear()), IDENTITY),
    "a GroupNorm without arrays": (lambda: ft.net(rnn=ft.rnn(), norm=ft.fake("GroupNorm"), fc=ft.linear()), IDENTITY),
    "an activation of no known place": (lambda: ft.net(rnn=ft.rnn(), t=ft.fake("Tanh"), fc=ft.linear()), IDENTITY),
    "a class of the user's": (lambda: ft.net(rnn=ft.rnn(), own=ft.Net(), fc=ft.linear()), IDENTITY),
    "max_norm": (lambda: ft.net(emb=ft.embedding(max_norm=0.1), rnn=ft.rnn()), {}),
    "a BatchNorm without statistics": (
        lambda: ft.net(rnn=ft.rnn(), head=ft.sequential(ft.linear(4, 2), unkept())), IDENTITY,
    ),
    "a BatchNorm with an eps that is given": (
        lambda: ft.net(rnn=ft.rnn(), head=ft.sequential(ft.linear(4, 2), ft.norm(2))), IDENTITY | {"batch_norm_eps": 1.0},
    ),
    "activations that are recorded": (lambda: ft.net(rnn=ft.rnn()), {"activation": "relu"}),
    "a Hardtanh from -1 on": (
        lambda: ft.net(rnn=ft.rnn(), head=ft.sequential(ft.linear(4, 6), ft.fake("Hardtanh", min_val=-1.0, max_val=1.0))),
        {},
    ),
    "an LSTM": (lambda: ft.net(rnn=ft.rnn(), gates=ft.fake("LSTM")), {}),
    "arrays of its own": (lambda: ft.Net({"rnn": ft.rnn()}, {"h0": np.zeros(4, "f4")}), {}),
    "a class with arrays": (lambda: ft.net(rnn=ft.rnn(), own=ft.Net({}, {"w": np.ones((4, 4), "f4")})), {}),
    "an axis of a softmax": (lambda: ft.net(rnn=ft.rnn(), fc=ft.linear(), p=ft.softmax(dim=0)), {}),
    "a softmax within a head": (lambda: ft.net(rnn=ft.rnn(), a=ft.linear(4, 4), s=ft.softmax(), b=ft.linear(4, 2)), {}),
}  # fmt: skip


def unkept() -> Any:
    norm = ft.norm(2)
    norm.track_running_stats = False
    return norm


@pytest.mark.parametrize("kind", REFUSED)
def test_a_module_is_refused_alike_saved_and_live(tmp_path: Path, kind: str) -> None:
    make, options = REFUSED[kind]
    path = saved(make(), tmp_path / "m.pt")
    with pytest.raises((rb.FormatError, rb.ArgumentError)) as live:
        rb.from_torch(make(), **options)
    with pytest.raises((rb.FormatError, rb.ArgumentError)) as read:
        rb.load(path, **options)
    assert str(read.value).removeprefix(f"{path}: ").replace(".normalization.", ".any.").replace(
        ".rnn.", ".any."
    ) == str(live.value)


def test_layers_have_the_activations_that_they_record(tmp_path: Path) -> None:
    module = tanh_and_relu()
    first, second = module._modules.values()
    read = rb.load(saved(module, tmp_path / "m.pt"))
    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("f4")
    same(read(x)[0], rb.from_torch(second)(rb.from_torch(first)(x)[0])[0])
    assert [layer.forward.activation.name for layer in read.layers] == ["tanh", "relu"]  # type: ignore[union-attr]


def test_the_recorded_eps_is_used(tmp_path: Path) -> None:
    cells, fc, norm = ft.sized(4, 3), ft.linear(4, 6), ft.norm(6)
    module = ft.net(rnn=cells, head=ft.sequential(fc, norm, ft.fake("ReLU")))
    read = rb.load(saved(module, tmp_path / "m.pt"))
    same(read.logits(X), normed(norm, applied(fc, rb.from_torch(cells)(X)[0])))


@pytest.mark.parametrize("kind", ["_forward_hooks", "_forward_pre_hooks"])
@pytest.mark.parametrize("hook", [b"c__main__\ndouble\n", b"c__main__\nOwn\n)\x81", b"cfunctools\npartial\n)R"])
def test_hooks_are_refused_unless_they_are_of_torch(tmp_path: Path, kind: str, hook: bytes) -> None:
    fc = ft.linear()
    module = ft.net(rnn=ft.rnn(), fc=fc)
    vars(fc)[kind] = {3: hook}
    with pytest.raises(rb.FormatError, match="'fc' has a forward hook, which may change what it computes"):
        rb.load(saved(module, tmp_path / "m.pt"), **IDENTITY)


def test_a_weight_norm_is_computed(tmp_path: Path) -> None:
    fc = ft.linear()
    weight = fc._state.pop("weight")
    wanted = applied(ft.linear(), rb.from_torch(ft.rnn())(X.swapaxes(0, 1))[0])
    fc._state |= {"weight_g": np.linalg.norm(weight, axis=1, keepdims=True), "weight_v": 3 * np.asarray(weight)}
    hook = b"ctorch.nn.utils.weight_norm\nWeightNorm\n)\x81}(" + pt_files.text("name") + pt_files.text("weight") + b"ub"
    vars(fc)["_forward_pre_hooks"] = {0: hook}
    read = rb.load(saved(ft.net(rnn=ft.rnn(), fc=fc), tmp_path / "m.pt"), **IDENTITY)
    same(read.logits(X.swapaxes(0, 1)), wanted)


def spectral(axis: int, u: int, v: int) -> Any:
    """A Linear whose weight, of shape (2, 4), has a spectral norm along an axis."""
    fc = ft.linear()
    draw = np.random.default_rng(1)
    state = {"weight_orig": fc._state.pop("weight"), "weight_u": draw.normal(size=u), "weight_v": draw.normal(size=v)}
    fc._state |= state
    facts = pt_files.dictionary({"name": pt_files.text("weight"), "dim": pt_files.integer(axis)})
    vars(fc)["_forward_pre_hooks"] = {0: b"ctorch.nn.utils.spectral_norm\nSpectralNorm\n)\x81" + facts + b"b"}
    return fc


@pytest.mark.parametrize(("axis", "u", "v"), [(0, 2, 4), (1, 4, 2)])
def test_a_spectral_norm_is_computed_along_its_axis(tmp_path: Path, axis: int, u: int, v: int) -> None:
    fc = spectral(axis, u, v)
    read = rb.load(saved(ft.net(rnn=ft.rnn(), fc=fc), tmp_path / "m.pt"), **IDENTITY)
    whole, left, right = (np.asarray(fc._state[f"weight_{name}"], "f8") for name in ("orig", "u", "v"))
    wanted = whole / (left @ (whole.T if axis else whole) @ right)
    same(read.readout.weight, wanted)


@pytest.mark.parametrize(("axis", "u", "v"), [(0, 4, 2), (1, 2, 4), (2, 2, 4), (-1, 4, 2), (0, 2, 3)])
def test_a_spectral_norm_of_other_shapes_is_refused(tmp_path: Path, axis: int, u: int, v: int) -> None:
    with pytest.raises(rb.FormatError, match="it holds a spectral norm of 'weight' whose parts do not fit"):
        rb.load(saved(ft.net(rnn=ft.rnn(), fc=spectral(axis, u, v)), tmp_path / "m.pt"), **IDENTITY)


def test_a_method_that_is_replaced_is_refused(tmp_path: Path) -> None:
    fc = ft.linear()
    vars(fc)["forward"] = b"c__main__\nown\n"
    with pytest.raises(rb.FormatError, match=r"'fc' is a .*, which computes something else than torch's Linear"):
        rb.load(saved(ft.net(rnn=ft.rnn(), fc=fc), tmp_path / "m.pt"), **IDENTITY)


# Cells of a class of the user's, whose arrays are known by their names alone


def own_cell(**beside: Any) -> Any:
    state = {name: array.astype("f4") for name, array in network(prefix="").items()}
    return ft.net(rnn=ft.Net({}, state), **beside)


def test_cells_of_the_users_are_read_by_the_names_of_their_arrays(tmp_path: Path) -> None:
    module = own_cell(head=ft.sequential(ft.linear(4, 6), ft.norm(6)))
    read = rb.load(saved(module, tmp_path / "m.pt"), activation="tanh", **IDENTITY)
    fc, norm = module._modules["head"]._modules.values()
    same(read.logits(X), normed(norm, applied(fc, rb.from_torch(network(), activation="tanh")(X.astype("f8"))[0])))


def test_the_activation_that_a_subclass_records_is_given(tmp_path: Path) -> None:
    module = own_cell()
    vars(module._modules["rnn"])["mode"] = "RNN_RELU"
    path = saved(module, tmp_path / "m.pt")
    wanted = of_torch(network(), X, "rnn.", lambda z: np.maximum(z, 0))
    follow("recorded", lambda **given: rb.load(path, **{"activation": "tanh", **given}), wanted, lambda rnn: rnn(X)[0])


@pytest.mark.parametrize(
    ("beside", "match"),
    [
        (lambda: {"ln": ft.fake("LayerNorm")}, "'ln' is a .*LayerNorm, which is not understood; .*'ln': 'ignore'"),
        (lambda: {"own": ft.Net()}, "'own' .* is a class of your own, which is not looked into; .*'own': 'ignore'"),
        (lambda: {"emb": ft.embedding(max_norm=1.0)}, "the embedding 'emb' has max_norm"),
    ],
)
def test_what_computes_beside_cells_of_the_users_is_refused(tmp_path: Path, beside: Any, match: str) -> None:
    path = saved(own_cell(**beside()), tmp_path / "m.pt")
    with pytest.raises(rb.FormatError, match=match):
        rb.load(path, activation="tanh")
    if "ignore" in match:
        rb.load(path, activation="tanh", roles=dict.fromkeys(beside(), "ignore"))


def test_names_are_given_to_arrays_of_a_module(tmp_path: Path) -> None:
    module = ft.Net({"rnn": ft.sized(4, 3)}, {"h0": np.full((1, 4), 0.5, "f4")})
    read = rb.load(saved(module, tmp_path / "m.pt"), names={"h0": "h_0"})
    same(read(X)[0], rb.from_torch(ft.sized(4, 3))(X, np.full((1, 2, 4), 0.5, "f4"))[0])
    with pytest.raises(rb.FormatError, match="leave `activation` out"):
        rb.load(tmp_path / "m.pt", names={"h0": "h_0"}, activation="tanh")
    differing = tanh_and_relu()
    differing._state = {"h0": np.zeros((1, 4), "f4").view(ft.Tensor)}
    path = saved(differing, tmp_path / "d.pt")
    follow(
        "leave_out",
        partial(rb.load, path, names={"h0": "h_0"}),
        rb.from_torch(tanh_and_relu())(X)[0],
        lambda rnn: rnn(X)[0],
        then=lambda: rb.load(path, roles={"h0": "ignore"}),
    )


def test_a_key_leads_into_a_module(tmp_path: Path) -> None:
    file = Saved()
    whole = ft.net(actor=ft.net(rnn=ft.sized(4, 3)), critic=ft.net(rnn=ft.sized(5, 3)))
    path = file.write(tmp_path / "m.pt", pt_files.dictionary({"model": file.module(whole)}))
    for key in (("model", "actor"), ("model", "actor", "rnn"), ("model", "actor.rnn")):
        same(rb.load(path, key=key)(X)[0], rb.from_torch(ft.sized(4, 3))(X)[0])


# Damaged files


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("hidden_size", "4"),
        ("num_layers", 10**9),
        ("num_layers", 0),
        ("mode", None),
        ("batch_first", 3),
        ("mode", b"]"),
    ],
)
def test_what_a_module_records_must_be_of_its_kind(tmp_path: Path, attribute: str, value: Any) -> None:
    cells = ft.rnn()
    vars(cells)[attribute] = value
    with pytest.raises(rb.FormatError, match=f"a 'torch.nn.modules.rnn.RNN' with {attribute} .*; it is damaged, or of"):
        rb.load(saved(ft.net(rnn=cells), tmp_path / "m.pt"))


@pytest.mark.parametrize("kind", ["Hardtanh", "ReLU6"])
@pytest.mark.parametrize(
    "bounds", [{"min_val": 0.0}, {"min_val": 0.0, "max_val": "6"}, {"min_val": None, "max_val": 6}]
)
def test_the_bounds_of_a_clipped_relu_must_be_numbers(tmp_path: Path, kind: str, bounds: dict[str, Any]) -> None:
    head = ft.sequential(ft.linear(4, 6), ft.fake(kind, **bounds))
    with pytest.raises(rb.FormatError, match=rf"activation.{kind}' with m.._val .*; it is damaged, or of"):
        rb.load(saved(ft.net(rnn=ft.rnn(), head=head), tmp_path / "m.pt"))


@pytest.mark.parametrize(("part", "name"), [("rnn", "weight_hh_l0"), ("fc", "weight"), ("bn", "running_mean")])
def test_a_module_that_lacks_an_array_is_refused(tmp_path: Path, part: str, name: str) -> None:
    parts = {"rnn": ft.rnn(), "fc": ft.linear(4, 2), "bn": ft.norm(2)}
    del parts[part]._state[name]
    module = ft.net(rnn=parts["rnn"], head=ft.sequential(parts["fc"], parts["bn"]))
    with pytest.raises(rb.FormatError, match=f"has no {name}; it is damaged"):
        rb.load(saved(module, tmp_path / "m.pt"), **IDENTITY)


def test_a_norm_of_another_size_is_refused(tmp_path: Path) -> None:
    norm = ft.norm(3)
    norm.num_features = 2
    module = ft.net(rnn=ft.rnn(), head=ft.sequential(ft.linear(4, 2), norm))
    with pytest.raises(rb.FormatError, match="a BatchNorm, does not fit the weight beside it, of shape"):
        rb.load(saved(module, tmp_path / "m.pt"), **IDENTITY)


def test_an_identity_is_accounted_before_it_is_made(tmp_path: Path) -> None:
    cells = ft.rnn()
    cells.hidden_size = 10**6
    with pytest.raises(rb.FormatError, match=r"the identity at .* would take"):
        rb.load(saved(ft.sequential(cells, ft.fake("Tanh")), tmp_path / "m.pt"))


@pytest.mark.parametrize("name", ["named_modules", "__class__", "state_dict", "modules", "_modules"])
def test_attributes_of_odd_names_are_no_trap(tmp_path: Path, name: str) -> None:
    cells = ft.sized(4, 3)
    vars(cells)["__dict__"] = 3
    if name != "_modules":
        vars(cells)[name] = "x"
    same(rb.load(saved(cells, tmp_path / "m.pt"))(X)[0], rb.from_torch(ft.sized(4, 3))(X)[0])
