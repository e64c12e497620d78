"""torch's modules, by objects that say what torch's say: what is applied to what, and what is refused by name."""

from collections.abc import Callable, Mapping
from typing import Any

import fake_torch as ft
import numpy as np
import pt_files
import pytest
from ways import follow

import rnn_backends as rb
from rnn_backends.formats.torch.walk import parts_of

X = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("f4")
X9 = np.random.default_rng(0).normal(size=(5, 2, 9)).astype("f4")
IDENTITY: dict[str, Any] = {"readout_activation": "identity"}


def relu(z: Any) -> Any:
    return np.maximum(z, 0)


def applied(module: Any, x: Any) -> Any:
    """What a Linear gives."""
    return x @ module._state["weight"].T + module._state["bias"]


def normed(module: Any, x: Any) -> Any:
    """What a BatchNorm gives, where nothing is trained."""
    mean, var, weight, bias = module._state.values()
    return (x - mean) / np.sqrt(var + module.eps) * weight + bias


def states(module: Any, x: Any = X) -> Any:
    return rb.from_torch(module)(x)[0]


def logits(rnn: rb.RNN) -> Any:
    return rnn.logits(X)


def readout_of(rnn: rb.RNN) -> rb.Linear:
    assert isinstance(rnn.readout, rb.Linear)
    return rnn.readout


def same(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


# What a module records


def test_a_module_tells_its_options() -> None:
    for mode, batch_first in (("relu", True), ("tanh", False)):
        rnn = rb.from_torch(ft.rnn(mode=f"RNN_{mode.upper()}", batch_first=batch_first))
        (layer,) = rnn.layers
        assert isinstance(layer.forward, rb.Cell)
        assert (layer.forward.activation, rnn.batch_first) == (rb.Activation(mode), batch_first)


@pytest.mark.parametrize(("option", "value"), [("activation", "relu"), ("batch_first", True)])
def test_what_a_module_records_must_be_left_out(option: str, value: Any) -> None:
    module = ft.sized(4, 3)
    follow(
        "leave_out",
        lambda **_: rb.from_torch(module, **{option: value}),
        states(module),
        lambda rnn: rnn(X)[0],
        then=lambda: rb.from_torch(module),
    )


@pytest.mark.parametrize(("option", "value"), [("key", "ema"), ("names", {"a": "h_0"}), ("batch_norm_eps", 1e-5)])
def test_options_of_state_dicts_are_none_of_a_module(option: str, value: Any) -> None:
    with pytest.raises(rb.ArgumentError, match=f"`{option}` is an option of state dicts; of a module leave"):
        rb.from_torch(ft.rnn(), **{option: value})


@pytest.mark.parametrize(
    ("last", "activation"), [("Softmax", "softmax"), ("LogSoftmax", "log_softmax"), ("Sigmoid", "sigmoid")]
)
def test_what_follows_the_linear_is_g2(last: str, activation: str) -> None:
    module = ft.net(drop=ft.fake("Dropout"), rnn=ft.rnn(), fc=ft.linear(), last=ft.softmax(last))
    assert readout_of(rb.from_torch(module)).activation == rb.Activation(activation)


def test_a_given_activation_overrules_what_a_module_seems_to_say() -> None:
    module = ft.net(rnn=ft.rnn(), fc=ft.linear(), p=ft.softmax(dim=0))
    assert readout_of(rb.from_torch(module, **IDENTITY)).activation == rb.Activation("identity")


@pytest.mark.parametrize("last", [{}, {"last": ft.fake("Identity")}, {"drop": ft.fake("Dropout")}])
def test_a_linear_alone_does_not_tell_g2(last: dict[str, Any]) -> None:
    module = ft.net(rnn=ft.sized(4, 3), fc=ft.linear(), **last)
    wanted = applied(module._modules["fc"], states(module._modules["rnn"]))
    rnn = follow("readout_activation", lambda **given: rb.from_torch(module, **given), wanted, logits)
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation("softmax")
    rnn = rb.from_torch(module, **IDENTITY)
    with pytest.raises(rb.ArgumentError, match=r"loss is .* load it with readout_activation='softmax', or give its"):
        rnn.loss(np.zeros((5, 2, 3), "f4"), np.zeros((5, 2), int))


def test_without_a_readout_there_is_no_g2() -> None:
    with pytest.raises(rb.FormatError, match="no weights of a readout; leave `readout_activation` out"):
        rb.from_torch(ft.rnn(), readout_activation="softmax")


def test_an_embedding_is_folded_into_the_first_layer() -> None:
    table = np.random.default_rng(5).normal(size=(9, 3)).astype("f4")
    rnn = rb.from_torch(ft.net(emb=ft.embedding(table=table), rnn=ft.rnn()))
    exact = pt_files.cell()["weight_ih_l0"].astype("f8") @ table.astype("f8").T
    (layer,) = rnn.layers
    assert isinstance(layer.forward, rb.Cell)
    assert layer.forward.weight_ih.tobytes() == exact.astype("f4").tobytes()
    assert rnn([[3, 1], [8, 0]])[0].shape == (2, 2, 4)
    with pytest.raises(rb.ArgumentError, match="takes token ids, and no features; leave `takes` out"):
        rb.from_torch(ft.net(emb=ft.embedding(), rnn=ft.rnn()), takes="features")


def test_a_table_smaller_than_the_product_stays_an_encoder() -> None:
    table = np.random.default_rng(5).normal(size=(90, 3)).astype("f4")
    rnn = rb.from_torch(ft.net(emb=ft.embedding(table=table), rnn=ft.sized(40, 3)))
    assert (rnn.encoder.input_size, rnn.encoder.output_size) == (90, 3)
    ids = np.arange(8).reshape(4, 2)
    same(rnn(ids)[0], states(ft.sized(40, 3), table[ids]))


# What is applied to what


def test_an_nn_sequential_is_applied_in_its_order() -> None:
    first, cells, second, third = ft.linear(7, 3), ft.sized(4, 3), ft.linear(4, 6), ft.linear(6, 5)
    module = ft.sequential(first, ft.fake("Tanh"), cells, second, ft.fake("ReLU"), ft.fake("Dropout"), third)
    x = np.random.default_rng(1).normal(size=(5, 2, 7)).astype("f4")
    wanted = applied(third, relu(applied(second, states(cells, np.tanh(applied(first, x))))))
    same(rb.from_torch(module, **IDENTITY).logits(x), wanted)


def test_the_activations_of_an_nn_sequential_stand_where_they_are_applied() -> None:
    first, second = ft.linear(4, 6), ft.linear(6, 5)
    module = ft.net(rnn=ft.sized(4, 3), head=ft.sequential(first, ft.fake("ReLU"), second))
    wanted = applied(second, relu(applied(first, states(ft.sized(4, 3)))))
    follow("readout_activation", lambda **given: rb.from_torch(module, **given), wanted, logits)


def test_the_activations_of_attributes_are_not_known() -> None:
    first, second = ft.linear(4, 6), ft.linear(6, 5)
    wanted = applied(second, relu(applied(first, states(ft.sized(4, 3)))))
    module = ft.net(rnn=ft.sized(4, 3), first=first, second=second)
    follow("readout_activation", lambda **given: rb.from_torch(module, **given), wanted, logits)
    for activation in (ft.fake("ReLU"), ft.fake("Sigmoid")):
        module = ft.net(rnn=ft.sized(4, 3), first=first, g=activation, second=second)
        follow("module_activation", lambda module=module, **given: rb.from_torch(module, **given), wanted, logits)


def test_an_activation_of_what_the_rnn_gives_stands_before_the_readout() -> None:
    fc = ft.linear(4, 5)
    module = ft.sequential(ft.sized(4, 3), ft.fake("ReLU"), ft.fake("Tanh"), fc)
    same(logits(rb.from_torch(module, **IDENTITY)), applied(fc, np.tanh(relu(states(ft.sized(4, 3))))))


def test_a_linear_before_the_rnn_may_have_an_activation() -> None:
    first = ft.linear(3, 6)
    wanted = states(ft.sized(4, 6), relu(applied(first, X)))
    module = ft.net(first=first, rnn=ft.sized(4, 6))
    follow("encoder_activation", lambda **given: rb.from_torch(module, **given), wanted, lambda rnn: rnn(X)[0])
    rnn = rb.from_torch(module, encoder_activation="identity")
    assert rnn.encoder is None
    same(rnn(X)[0], states(ft.sized(4, 6), applied(first, X)))


@pytest.mark.parametrize("kind", ["CELU", "GELU", "Mish"])
def test_an_activation_that_is_none_here_can_be_a_function(kind: str) -> None:
    first, second = ft.linear(4, 6), ft.linear(6, 5)
    module = ft.sequential(ft.sized(4, 3), first, ft.fake(kind), second)
    follow(
        "module_function",
        lambda **_: rb.from_torch(module),
        applied(second, np.sin(applied(first, states(ft.sized(4, 3))))),
        logits,
        then=lambda: rb.from_torch(module, readout_activation=(np.sin, "identity")),
    )


def test_layers_of_several_sizes_stand_on_each_other() -> None:
    a, b = ft.sized(6, 3), ft.sized(4, 6)
    wanted = states(b, states(a))
    rnn = rb.from_torch(ft.net(a=a, b=b))
    assert rnn.num_layers == 2
    same(rnn(X)[0], wanted)
    same(states(ft.sequential(a, b)), wanted)


@pytest.mark.parametrize("sizes", [(4, 3), (5, 3), (5, 7)])
def test_several_networks_are_not_taken_for_layers(sizes: tuple[int, int]) -> None:
    module = ft.net(a=ft.sized(4, 3), b=ft.sized(*sizes))
    follow("roles", lambda **given: rb.from_torch(module, **given), states(ft.sized(4, 3)), lambda rnn: rnn(X)[0])
    with pytest.raises(rb.FormatError, match=r"there are several recurrent modules.*roles=\{'a': 'ignore', 'b': 'la"):
        rb.from_torch(module, roles={"b": "layers"})


def test_layers_of_one_size_may_be_two_networks() -> None:
    a, b = ft.sized(3, 3), ft.sized(4, 3)
    module = ft.net(a=a, b=b)
    follow("roles", lambda **given: rb.from_torch(module, **given), states(b, states(a)), lambda rnn: rnn(X)[0])


def test_the_order_of_roles_is_that_of_computation() -> None:
    a, b, fc = ft.sized(4, 6), ft.sized(6, 3), ft.linear(4, 5)
    module = ft.net(fc=fc, a=a, b=b)
    rnn = rb.from_torch(module, roles={"b": "layers", "a": "layers", "fc": "readout"}, **IDENTITY)
    same(logits(rnn), applied(fc, states(a, states(b))))


def test_a_readout_that_is_declared_first_is_one_where_sizes_say_so() -> None:
    module = ft.net(fc=ft.linear(4, 5), rnn=ft.sized(4, 3))
    same(logits(rb.from_torch(module, **IDENTITY)), applied(ft.linear(4, 5), states(ft.sized(4, 3))))


def test_a_linear_that_may_stand_before_the_rnn_or_after_it_is_given_its_role() -> None:
    fc = ft.linear(3, 3)
    module = ft.net(fc=fc, rnn=ft.sized(3, 3))
    cells = ft.sized(3, 3)
    follow(
        "roles",
        lambda **given: rb.from_torch(module, **given, encoder_activation="identity"),
        states(cells, applied(fc, X)),
        lambda rnn: rnn(X)[0],
    )
    same(logits(rb.from_torch(module, roles={"fc": "readout"}, **IDENTITY)), applied(fc, states(cells)))


def test_one_of_two_heads_is_chosen_by_roles() -> None:
    a, b = ft.linear(4, 5), ft.linear(4, 3)
    module = ft.net(rnn=ft.sized(4, 3), a=a, b=b)
    follow(
        "roles",
        lambda **given: rb.from_torch(module, **given, **IDENTITY),
        applied(a, states(ft.sized(4, 3))),
        logits,
    )
    rnn = rb.from_torch(module, roles={"a": "ignore", "b": "readout"}, **IDENTITY)
    same(logits(rnn), applied(b, states(ft.sized(4, 3))))


def test_an_embedding_that_is_declared_last_is_given_its_role() -> None:
    table = np.random.default_rng(5).normal(size=(9, 3)).astype("f4")
    module = ft.net(rnn=ft.sized(4, 3), emb=ft.embedding(table=table), labels=ft.embedding())
    ids = np.arange(8).reshape(4, 2)
    follow(
        "roles", lambda **given: rb.from_torch(module, **given), states(ft.sized(4, 3), table[ids]), lambda rnn: rnn(ids)[0]
    )  # fmt: skip


# BatchNorm


def test_batch_norm_goes_into_the_linear_beside_it() -> None:
    cells, first, second = ft.sized(4, 3), ft.linear(4, 6), ft.linear(6, 5)
    norms = [ft.norm(4), ft.norm(6), ft.norm(6), ft.norm(5)]
    head = ft.sequential(norms[0], first, norms[1], ft.fake("ReLU"), norms[2], second, norms[3])
    hidden = relu(normed(norms[1], applied(first, normed(norms[0], states(cells)))))
    wanted = normed(norms[3], applied(second, normed(norms[2], hidden)))
    rnn = rb.from_torch(ft.net(rnn=cells, head=head), **IDENTITY)
    assert len(rnn.readout) == 2
    same(logits(rnn), wanted)


def test_batch_norm_after_an_activation_at_the_end_is_a_linear_of_its_own() -> None:
    fc, norm = ft.linear(4, 5), ft.norm(5)
    module = ft.net(rnn=ft.sized(4, 3), head=ft.sequential(fc, ft.fake("ReLU"), norm))
    same(logits(rb.from_torch(module)), normed(norm, relu(applied(fc, states(ft.sized(4, 3))))))


def test_batch_norm_between_the_rnn_and_its_readout_has_one_place() -> None:
    fc, norm = ft.linear(4, 5), ft.norm(4)
    module = ft.net(rnn=ft.sized(4, 3), norm=norm, fc=fc)
    same(logits(rb.from_torch(module, **IDENTITY)), applied(fc, normed(norm, states(ft.sized(4, 3)))))


def test_batch_norm_of_which_the_place_is_not_recorded_is_given_it() -> None:
    first, second, norm = ft.linear(4, 6), ft.linear(6, 5), ft.norm(6)
    module = ft.net(rnn=ft.sized(4, 3), first=first, norm=norm, second=second)
    follow(
        "module_norm",
        lambda **given: rb.from_torch(module, **given, readout_activation=("relu", "identity")),
        applied(second, relu(normed(norm, applied(first, states(ft.sized(4, 3)))))),
        logits,
    )


def test_batch_norm_of_the_input_goes_into_the_rnn() -> None:
    norm = ft.norm(3)
    module = ft.net(norm=norm, rnn=ft.sized(4, 3))
    wanted = states(ft.sized(4, 3), normed(norm, X).astype("f4"))
    rnn = follow("module_norm", lambda **given: rb.from_torch(module, **given), wanted, lambda rnn: rnn(X)[0])
    assert rnn.encoder is None


def test_batch_norm_without_statistics_is_refused() -> None:
    norm = ft.norm(4)
    norm.track_running_stats = False
    with pytest.raises(rb.FormatError, match="track_running_stats=False, which has no mean of its own"):
        rb.from_torch(ft.net(rnn=ft.rnn(), norm=norm, fc=ft.linear()))


# Many-to-one


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("dim", [1, None])
def test_a_softmax_over_axis_1_is_one_of_many_to_one(kind: str, dim: int | None) -> None:
    fc = ft.linear(4, 5)
    module = ft.net(rnn=ft.sized(4, 3), fc=fc, p=ft.softmax(kind, dim))
    z = applied(fc, states(ft.sized(4, 3))[-1])
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    wanted = p if kind == "Softmax" else np.log(p)
    load: Callable[..., rb.RNN] = lambda **given: rb.from_torch(module, **given)  # noqa: E731
    follow("module_many_to_one", load, wanted, lambda rnn: rnn.probabilities(X))
    last = follow("module_softmax", load, wanted, lambda rnn: rnn.probabilities(X))
    assert last.reads == "last"
    with pytest.raises(
        rb.FormatError, match=r"not over the features of .seq_len, batch, features.; pass readout_activ"
    ):
        rb.from_torch(module, reads="steps")


@pytest.mark.parametrize(("dim", "reads"), [(0, "last"), (2, "last"), (-2, "mean"), (0, None), (-2, "steps")])
def test_a_softmax_over_another_axis_is_refused(dim: int, reads: str | None) -> None:
    module = ft.net(rnn=ft.rnn(), fc=ft.linear(), p=ft.softmax(dim=dim))
    with pytest.raises(rb.FormatError, match=f"'p' .Softmax. is over axis {dim}, not over the features of"):
        rb.from_torch(module, reads=reads)


def test_a_softmax_over_axis_2_is_one_of_every_step() -> None:
    module = ft.net(rnn=ft.rnn(), fc=ft.linear(), p=ft.softmax(dim=2))
    assert readout_of(rb.from_torch(module)).activation == rb.Activation("softmax")


class Select(ft.Module):
    def forward(self, x: Any) -> Any:
        return x[0][-1]


def test_what_a_selector_takes_must_be_given() -> None:
    norm, fc = ft.norm(4), ft.linear(4, 5)
    select = Select({"drop": ft.fake("Dropout")})
    module = ft.sequential(ft.sized(4, 3), select, norm, fc, ft.softmax(dim=1))
    z = applied(fc, normed(norm, states(ft.sized(4, 3))[-1]))
    rnn = follow("module_reads", lambda **given: rb.from_torch(module, **given), z, logits)
    assert rnn.reads == "last"
    rnn = rb.from_torch(module, reads="mean")
    same(logits(rnn), applied(fc, normed(norm, states(ft.sized(4, 3)).mean(axis=0))))
    with pytest.raises(rb.FormatError, match=r"'2' .BatchNorm1d. is over axis 1, not over the features of each step"):
        rb.from_torch(module, reads="steps")


@pytest.mark.parametrize(
    "make",
    [
        lambda: ft.sequential(Select(), ft.rnn()),
        lambda: ft.sequential(ft.sized(6, 3), Select(), ft.sized(4, 6)),
        lambda: ft.net(rnn=ft.rnn(), select=Select(), fc=ft.linear()),
        lambda: ft.net(rnn=ft.rnn(), select=Select({"drop": ft.fake("Dropout")}), fc=ft.linear()),
    ],
)
def test_a_class_of_the_users_anywhere_else_is_refused_by_name(make: Callable[[], Any]) -> None:
    with pytest.raises(rb.FormatError, match=r"\(Select\) is a class of your own, .*'ignore'}"):
        rb.from_torch(make(), reads="last")


# What is refused by name, and what is left out


def changed(kind: str, **own: Any) -> type:
    return type("Mine", (ft.owned(kind),), {"__module__": "mine", **own})


def of_class(owner: type, module: Any) -> Any:
    module.__class__ = owner
    return module


def hooked(module: Any) -> Any:
    module._forward_hooks = {0: print}
    return module


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "an LSTM": (lambda: ft.fake("LSTM"), "the module is a torch.*LSTM, which has gates; this package runs vanilla RNNs"),
    "a GRU cell": (lambda: ft.net(cell=ft.fake("GRUCell")), "'cell' is a torch.*GRUCell, which has gates"),
    "no RNN": (lambda: ft.net(fc=ft.linear()), r"must be one nn.RNN or nn.RNNCell; there is 'fc' .Linear 4 to 2."),
    "a LayerNorm": (
        lambda: ft.net(rnn=ft.rnn(), n=ft.fake("LayerNorm")),
        "'n' is a torch.*LayerNorm, which is not understood; .*pass roles={'n': 'ignore'}",
    ),
    "a subclass": (
        lambda: of_class(changed("RNN", forward=lambda self, x: x), ft.rnn()),
        "the module is a mine.Mine, which computes something else than torch's RNN, by code",
    ),
    "another method": (
        lambda: ft.net(rnn=ft.rnn(), fc=of_class(changed("Linear", state_dict=print), ft.linear())),
        "'fc' is a mine.Mine, which computes something else than torch's Linear",
    ),
    "a method of one": (
        lambda: ft.net(rnn=ft.rnn(), d=ft.fake("Dropout", forward=print)),
        "'d' is a torch.*Dropout, which computes something else than torch's Dropout",
    ),
    "a hook": (lambda: ft.net(rnn=hooked(ft.rnn())), "'rnn' has a forward hook, .*; call remove.. of its handle first"),
    "arrays of its own": (lambda: ft.Net({"rnn": ft.rnn()}, {"h0": np.zeros(4)}), "'h0' are arrays of the module's own"),
    "a class with arrays": (
        lambda: ft.sequential(ft.rnn(), ft.Net({}, {"query": np.zeros(4)}), ft.linear()),
        "'1' is a fake_torch.Net, with arrays whose use is code; if the network does without it",
    ),
    "a ReLU after the readout": (
        lambda: ft.net(rnn=ft.rnn(), fc=ft.linear(), g=ft.fake("ReLU"), p=ft.softmax()),
        "where 'g' .ReLU. is applied is not recorded",
    ),
    "batch norm of two places": (
        lambda: ft.net(rnn=ft.sized(4, 4), n=ft.norm(4), fc=ft.linear()),
        "where 'n' .BatchNorm1d. is applied is not recorded",
    ),
    "a softmax alone": (lambda: ft.net(rnn=ft.rnn(), p=ft.softmax()), "where 'p' .Softmax. is applied is not recorded"),
    "two softmaxes": (
        lambda: ft.net(rnn=ft.rnn(), fc=ft.linear(), p=ft.softmax(), q=ft.softmax()),
        "where 'p' .Softmax. is applied is not recorded",
    ),
    "max_norm": (lambda: ft.net(e=ft.embedding(max_norm=1.0), rnn=ft.rnn()), "the embedding 'e' has max_norm"),
    "an embedding that does not fit": (
        lambda: ft.net(e=ft.embedding(5), rnn=ft.rnn(), fc=ft.linear()),
        r"'e' .Embedding 9 to 5. does not give what the RNN takes, 3; what else is fed to it is not recorded",
    ),
    "an embedding of another dtype": (
        lambda: ft.net(e=ft.embedding(table=np.ones((9, 3))), rnn=ft.rnn()),
        "the arrays make no network: .*float64",
    ),
    "a Linear between": (
        lambda: ft.sequential(ft.sized(6, 3), ft.linear(6, 6), ft.sized(4, 6)),
        r"'1' .Linear 6 to 6. do not fit before or after the RNN",
    ),
    "two layouts": (
        lambda: ft.sequential(ft.sized(3, 3), ft.rnn(batch_first=True)),
        "all nn.RNN must have one batch_first; those of '0', '1' differ",
    ),
    "batch norm before the RNN": (
        lambda: ft.sequential(ft.norm(3), ft.rnn()),
        "'0' .BatchNorm1d. is over axis 1, not over the features of each step",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_modules_that_are_not_understood_are_refused_by_name(kind: str) -> None:
    make, match = REFUSED[kind]
    with pytest.raises(rb.FormatError, match=match) as caught:
        rb.from_torch(make())
    assert len(str(caught.value)) < 400


class Loss(ft.owned("_Loss")):  # type: ignore[misc]
    """A loss of the user's."""


ft.owned("_Loss").__module__ = "torch.nn.modules.loss"


@pytest.mark.parametrize(
    "extra",
    [
        lambda: Loss({"inner": ft.fake("Bilinear")}, {"weight": np.ones(5)}),
        lambda: of_class(type("Accuracy", (ft.Module,), {"__module__": "torchmetrics.classification"}), Select()),
        lambda: ft.fake("AlphaDropout"),
        ft.sequential,
        lambda: of_class(changed("Dropout", extra_repr=str), ft.fake("Dropout")),
    ],
)
def test_what_computes_nothing_is_left_out(extra: Callable[[], Any]) -> None:
    module = ft.net(before=extra(), rnn=ft.sized(4, 3), fc=ft.linear(), after=extra())
    same(logits(rb.from_torch(module, **IDENTITY)), applied(ft.linear(), states(ft.sized(4, 3))))


def test_a_subclass_that_computes_the_same_is_what_it_is_made_from() -> None:
    same(states(of_class(changed("RNN", reset_parameters=print), ft.sized(4, 3))), states(ft.sized(4, 3)))


ROLES: list[tuple[Mapping[str, str], str]] = [
    ({"rn": "ignore"}, "`roles` must map paths of modules to roles; there is no 'rn', but 'drop', 'fc', 'rnn'"),
    ({"fc": "layers"}, "`roles` gives 'fc', a Linear, the role 'layers'; it can have encoder, readout or ignore"),
    ({"rnn": "readout"}, "`roles` gives 'rnn', a RNN, the role 'readout'; it can have layers or ignore"),
    ({"drop": "readout"}, "`roles` gives 'drop' the role 'readout'; it computes nothing"),
    ({"fc": "embedding"}, "'fc', a Linear, the role 'embedding'"),
    ({"fc": "ignore", "fc.1": "ignore"}, "there is no 'fc.1', but 'drop', 'fc', 'fc.bias', 'fc.weight', 'rnn'"),
    ({"fc": "ignore", "fc.1": "readout"}, "there is no 'fc.1'"),
    ({"drop": "ignore", "drop.p": "ignore"}, "there is no 'drop.p'"),
    ({"": "ignore", "rnn": "layers", "fc": "ignore", "fc.bia": "ignore"}, "there is no 'fc.bia'"),
]


@pytest.mark.parametrize(("roles", "match"), ROLES)
def test_roles_that_a_module_cannot_have_are_refused(roles: Mapping[str, str], match: str) -> None:
    with pytest.raises(rb.ArgumentError, match=match):
        rb.from_torch(ft.net(rnn=ft.rnn(), fc=ft.linear(), drop=ft.fake("Dropout")), roles=roles, **IDENTITY)


def test_a_role_holds_for_all_in_a_module_but_what_has_one_of_its_own() -> None:
    fc = ft.linear(4, 5)
    inner = ft.net(cell=ft.fake("LSTMCell"), fc=fc)
    module = ft.net(rnn=ft.sized(4, 3), decoder=inner)
    rnn = rb.from_torch(module, roles={"decoder": "ignore", "decoder.fc": "readout"}, **IDENTITY)
    same(logits(rnn), applied(fc, states(ft.sized(4, 3))))
    same(rb.from_torch(module, roles={"decoder": "ignore"})(X)[0], states(ft.sized(4, 3)))


@pytest.mark.parametrize("inner", ["fc.weight", "fc.bias"])
def test_what_is_in_an_ignored_module_may_be_ignored_too(inner: str) -> None:
    module = ft.net(rnn=ft.sized(4, 3), fc=ft.linear(4, 5))
    same(rb.from_torch(module, roles={"fc": "ignore", inner: "ignore"})(X)[0], states(ft.sized(4, 3)))


def test_a_module_with_two_names_is_one() -> None:
    fc = ft.linear()
    assert [part.path for part in parts_of(ft.net(a=fc, rnn=ft.rnn(), b=fc), {})] == ["a", "rnn"]
    assert [part.path for part in parts_of(ft.sequential(fc, fc), {})] == ["0", "1"]


def test_the_caller_keeps_the_weights() -> None:
    module = ft.net(rnn=ft.sized(4, 3), fc=ft.linear())
    rnn = rb.from_torch(module, **IDENTITY)
    before = logits(rnn)
    for part in module._modules.values():
        for array in part._state.values():
            array[...] = 7
    np.testing.assert_array_equal(logits(rnn), before)


def test_the_refusal_of_many_modules_is_short() -> None:
    names = [f"a_head_with_a_long_name_{k}" for k in range(9)]
    module = ft.net(rnn=ft.rnn(), **{name: ft.linear(4, 5) for name in names})
    with pytest.raises(rb.FormatError, match=r"and 8 more do not fit before or after the RNN") as caught:
        rb.from_torch(module)
    assert len(str(caught.value)) <= 400


def test_roles_of_many_modules_are_found() -> None:
    sizes = [(9, 7), (7, 3), (4, 6), (6, 5), (4, 8), (4, 9)]
    a, b, c, d, e, f = (ft.linear(*each) for each in sizes)
    module = ft.net(a=a, b=b, rnn=ft.sized(4, 3), c=c, d=d, e=e, f=f)
    follow(
        "roles",
        lambda **given: rb.from_torch(
            module, **given, encoder_activation=("identity", "identity"), readout_activation=("relu", "identity")
        ),
        applied(d, relu(applied(c, states(ft.sized(4, 3), applied(b, applied(a, X9)))))),
        lambda rnn: rnn.logits(X9),
    )


def test_a_decoder_is_no_layer() -> None:
    module = ft.net(encoder=ft.sized(4, 3), decoder=ft.sized(5, 4))
    with pytest.raises(rb.FormatError, match=r"there are several recurrent modules, .encoder. .*.decoder.: .ignore."):
        rb.from_torch(module)
    assert len(rb.from_torch(module, roles={"encoder": "layers", "decoder": "layers"}).layers) == 2
