"""torch's modules as people write them: the same numbers as their own forward, however their weights are held."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ways import follow

import rnn_backends as rb

torch = pytest.importorskip("torch")
nn = torch.nn

from torch.nn.utils import parametrizations, parametrize, prune  # noqa: E402
from torch_modules import B, Chain, Net, Own, Relu, SelectLast, Symmetric, T, Twice, drawn, result, settled  # noqa: E402

X = drawn(T, B, 3)
IDS = np.random.default_rng(0).integers(0, 9, (T, B))
GIVEN: dict[str, Any] = {"readout_activation": "identity"}
LAST: dict[str, Any] = GIVEN | {"reads": "last"}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def steps(m: Any, x: Any) -> Any:
    return m.fc(m.rnn(x)[0])


def last(m: Any, x: Any) -> Any:
    return m.fc(m.rnn(x)[0][-1])


def parts(**more: Any) -> dict[str, Any]:
    return {"rnn": nn.RNN(3, 4), "fc": nn.Linear(4, 5), **more}


def character_rnn(last_activation: Any) -> Any:
    """The classifier of names of torch's tutorial."""
    return Net(
        lambda m, x: m.softmax(m.h2o(m.rnn(x)[1][0])), rnn=nn.RNN(3, 4), h2o=nn.Linear(4, 5), softmax=last_activation
    )


MODULES: dict[str, tuple[Callable[[], Any], Any, dict[str, Any]]] = {
    "a loss": (lambda: Net(last, **parts(loss=nn.CrossEntropyLoss(weight=torch.ones(5)), d=nn.Dropout(0.5))), X, LAST),
    "log-softmax over axis 1": (lambda: character_rnn(nn.LogSoftmax(dim=1)), X, {"reads": "last"}),
    "softmax over axis 1": (lambda: character_rnn(nn.Softmax(dim=1)), X, {"reads": "last"}),
    "softmax over no axis": (lambda: character_rnn(nn.Softmax()), X, {"reads": "last"}),
    "softmax over the last axis": (lambda: character_rnn(nn.LogSoftmax(dim=-1)), X, {"reads": "last"}),
    "softmax over axis 2": (lambda: Net(lambda m, x: m.p(steps(m, x)), **parts(p=nn.Softmax(dim=2))), X, {}),
    "an identity that overrules a softmax": (lambda: Net(steps, **parts(p=nn.Softmax(dim=0))), X, GIVEN),
    "a head of two": (
        lambda: Net(steps, rnn=nn.RNN(3, 4), fc=nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 5))), X, GIVEN,
    ),
    "a head with a function": (
        lambda: Net(
            lambda m, x: m.b(torch.relu(m.a(m.rnn(x)[0]))), rnn=nn.RNN(3, 4), a=nn.Linear(4, 8), b=nn.Linear(8, 5)
        ),
        X,
        {"readout_activation": ("relu", "identity")},
    ),
    "a mean over the steps": (lambda: Net(lambda m, x: m.fc(m.rnn(x)[0].mean(0)), **parts()), X, GIVEN | {"reads": "mean"}),
    "both directions where they end": (
        lambda: Net(
            lambda m, x: m.fc(torch.cat(tuple(m.rnn(x)[1][-2:]), 1)),
            rnn=nn.RNN(3, 4, 2, bidirectional=True),
            fc=nn.Linear(8, 5),
        ),
        X,
        GIVEN | {"reads": "final"},
    ),
    "a Linear before": (
        lambda: Net(lambda m, x: m.fc(m.rnn(m.a(x))[0]), a=nn.Linear(3, 6), rnn=nn.RNN(6, 4), fc=nn.Linear(4, 5)),
        X,
        GIVEN | {"encoder_activation": "identity"},
    ),
    "a Linear with an activation before": (
        lambda: Net(
            lambda m, x: m.fc(m.rnn(m.a(x))[0]),
            a=nn.Sequential(nn.Linear(3, 6), nn.ELU(0.5)),
            rnn=nn.RNN(6, 4),
            fc=nn.Linear(4, 5),
        ),
        X,
        GIVEN,
    ),
    "an embedding and a Linear": (
        lambda: Net(
            lambda m, x: m.fc(m.rnn(torch.tanh(m.a(m.e(x))))[0]),
            e=nn.Embedding(9, 6, padding_idx=0),
            a=nn.Linear(6, 2),
            rnn=nn.RNN(2, 4),
            fc=nn.Linear(4, 5),
        ),
        IDS,
        GIVEN | {"encoder_activation": "tanh"},
    ),
    "an embedding with a function": (
        lambda: Net(
            lambda m, x: m.fc(m.rnn(torch.relu(m.e(x)))[0]), e=nn.Embedding(9, 6), rnn=nn.RNN(6, 4), fc=nn.Linear(4, 5)
        ),
        IDS,
        GIVEN | {"encoder_activation": "relu"},
    ),
    "layers of several sizes": (
        lambda: Net(
            lambda m, x: m.fc(m.b(m.a(x)[0])[0]),
            a=nn.RNN(3, 6, 2, bidirectional=True),
            b=nn.RNN(12, 4, bias=False),
            fc=nn.Linear(4, 5),
        ),
        X,
        GIVEN,
    ),
    "an encoder without its decoder": (
        lambda: Net(steps, **parts(decoder=nn.ModuleDict({"rnn": nn.GRU(3, 4), "fc": nn.Linear(4, 3)}))),
        X,
        GIVEN | {"roles": {"decoder": "ignore"}},
    ),
    "subclasses": (lambda: Net(steps, rnn=Relu(3, 4), fc=nn.Linear(4, 5)), X, GIVEN),
    "batch norm": (
        lambda: nn.Sequential(
            nn.RNN(3, 4), SelectLast(), nn.BatchNorm1d(4), nn.Linear(4, 8), nn.BatchNorm1d(8, eps=0.1), nn.LeakyReLU(0.2),
            nn.BatchNorm1d(8, affine=False), nn.Dropout(), nn.Linear(8, 5, bias=False), nn.BatchNorm1d(5), nn.Softmax(1),
        ),
        X,
        {"reads": "last"},
    ),
    "batch norm of the input": (
        lambda: Net(
            lambda m, x: m.fc(m.rnn(m.norm(x.flatten(0, 1)).unflatten(0, (T, B)))[0]), norm=nn.BatchNorm1d(3), **parts()
        ),
        X,
        GIVEN | {"roles": {"norm": "encoder"}},
    ),
    "batch norm among attributes": (
        lambda: Net(
            lambda m, x: m.b(torch.tanh(m.norm(m.a(m.rnn(x)[0][-1])))),
            rnn=nn.RNN(3, 4), a=nn.Linear(4, 8), norm=nn.BatchNorm1d(8), b=nn.Linear(8, 5),
        ),
        X,
        {"reads": "last", "readout_activation": ("tanh", "identity"), "roles": dict.fromkeys(("a", "norm", "b"), "readout")},
    ),
    "a subclass of nn.Sequential": (
        lambda: Chain(nn.RNN(3, 4), SelectLast(), nn.Tanh(), nn.Linear(4, 5), nn.Sigmoid()), X, {"reads": "last"},
    ),
    "clipped ReLUs, as in speech to text": (
        lambda: nn.Sequential(
            nn.Linear(3, 6), nn.ReLU6(), nn.Linear(6, 6), nn.Hardtanh(0, 20), nn.RNN(6, 4), SelectLast(),
            nn.Linear(4, 5), nn.Hardtanh(0.0, 0.1),
        ),
        10 * X,
        {"reads": "last"},
    ),
    "an nn.Sequential in another": (
        lambda: nn.Sequential(
            nn.Sequential(nn.Linear(3, 6), nn.Softplus()), nn.Sequential(nn.RNN(6, 4), SelectLast()),
            nn.Sequential(nn.Linear(4, 8), nn.Hardsigmoid()), nn.Sequential(), nn.Linear(8, 5), nn.Threshold(0.1, 0.0),
        ),
        X,
        {"reads": "last"},
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("kind", MODULES)
def test_a_module_has_the_numbers_of_its_forward(kind: str) -> None:
    make, x, given = MODULES[kind]
    module = settled(make())
    rnn = rb.from_torch(module, **given)
    np.testing.assert_allclose(rnn.probabilities(x), result(module, x), rtol=1e-6, atol=1e-8)


def test_batch_first_is_that_of_the_module() -> None:
    module = settled(Net(last, rnn=nn.RNN(3, 4, batch_first=True), fc=nn.Linear(4, 5)))
    module.call = lambda m, x: m.fc(m.rnn(x)[0][:, -1])
    np.testing.assert_allclose(rb.from_torch(module, **LAST).logits(X), result(module, X), rtol=1e-12)


ACTIVATIONS = {
    "relu": nn.ReLU(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "leaky_relu": nn.LeakyReLU(0.3), "elu": nn.ELU(0.7),
    "softsign": nn.Softsign(), "softplus": nn.Softplus(), "hard_sigmoid": nn.Hardsigmoid(),
    "thresholded_relu": nn.Threshold(0.2, 0.0), "clipped_relu": nn.Hardtanh(0.0, 0.5),
    "softmax": nn.Softmax(dim=-1), "log_softmax": nn.LogSoftmax(dim=-1),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_have_torchs_constants(name: str) -> None:
    head = nn.Sequential(nn.Linear(4, 5), ACTIVATIONS[name])
    module = settled(Net(steps, rnn=nn.RNN(3, 4), fc=head))
    rnn = rb.from_torch(module)
    assert isinstance(rnn.readout, rb.Linear)
    assert getattr(rnn.readout.activation, "name", None) == name
    with torch.no_grad():  # so that all of a function is seen
        head[0].weight *= 20
    np.testing.assert_allclose(rb.from_torch(module).probabilities(X), result(module, X), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    "activation", [nn.Softplus(beta=2), nn.Softplus(threshold=5), nn.Threshold(0.1, 1.0), nn.Hardtanh(), nn.GELU()]
)
def test_activations_of_other_constants_can_be_functions(activation: Any) -> None:
    module = settled(nn.Sequential(nn.RNN(3, 4), SelectLast(), nn.Linear(4, 5), activation))
    follow(
        "module_function",
        lambda **_: rb.from_torch(module, reads="last"),
        result(module, X),
        lambda rnn: rnn.probabilities(X),
        then=lambda: rb.from_torch(
            module, reads="last", readout_activation=lambda z: activation(torch.as_tensor(z)).numpy()
        ),
    )


# Weights that are computed of others


def wrapped() -> dict[str, Callable[[Any, str], Any]]:
    old, new = nn.utils, parametrizations
    return {
        "old weight norm": old.weight_norm,
        "old weight norm over all": lambda m, name: old.weight_norm(m, name, None),
        "old weight norm of columns": lambda m, name: old.weight_norm(m, name, 1),
        "weight norm": new.weight_norm,
        "weight norm of columns": lambda m, name: new.weight_norm(m, name, 1),
        "old spectral norm": old.spectral_norm,
        "old spectral norm of columns": lambda m, name: old.spectral_norm(m, name, dim=1),
        "spectral norm": new.spectral_norm,
        "spectral norm of columns": lambda m, name: new.spectral_norm(m, name, dim=1),
        "orthogonal": new.orthogonal,
        "orthogonal by Householder": lambda m, name: new.orthogonal(m, name, "householder"),
        "pruned": lambda m, name: prune.l1_unstructured(m, name, 0.5),
        "pruned twice": lambda m, name: prune.random_unstructured(prune.l1_unstructured(m, name, 2), name, 2),
    }


def wrap(kind: str, module: Any, name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated
        return wrapped()[kind](module, name)


def snapshot(module: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in (*module.named_parameters(), *module.named_buffers())}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", wrapped())
def test_weights_are_those_of_eval_and_the_module_stays_as_it_is(kind: str, training: bool) -> None:
    module = Net(last, rnn=wrap(kind, nn.RNN(3, 4), "weight_hh_l0"), fc=wrap(kind, nn.Linear(4, 4), "weight")).double()
    module(torch.as_tensor(X))
    with torch.no_grad():  # as an optimizer does: what hooks have left is now an old one
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    module.train(training)
    before = snapshot(module)
    found = rb.from_torch(module, **LAST).logits(X)
    after = snapshot(module)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(part.training == training for part in module.modules())
    np.testing.assert_allclose(found, result(module, X), rtol=1e-9)


def test_a_parametrization_of_ones_own_is_read_where_nothing_is_trained() -> None:
    module = Net(steps, **parts()).double()
    parametrize.register_parametrization(module.rnn, "weight_hh_l0", Symmetric())
    module.train()
    follow(
        "module_eval",
        lambda **_: rb.from_torch(module, **GIVEN),
        result(module, X),
        lambda rnn: rnn.logits(X),
        then=lambda: rb.from_torch(module.eval(), **GIVEN),
    )


def test_a_state_dict_with_a_parametrization_that_is_not_known_has_two_ways() -> None:
    module = parametrizations.orthogonal(nn.RNN(3, 4), "weight_hh_l0")
    wanted = result(Net(lambda m, x: m.rnn(x)[0], rnn=module), X.astype("f4"))

    def load(**_: Any) -> rb.RNN:
        return rb.from_torch(module.state_dict(), activation="tanh")

    def of_the_module() -> rb.RNN:
        return rb.from_torch(module)

    def removed() -> rb.RNN:
        parametrize.remove_parametrizations(module, "weight_hh_l0")
        return load()

    for then in (of_the_module, removed):
        follow("effective_parametrization", load, wanted, lambda rnn: rnn(X)[0], then=then)


# Wrappers, and what is refused with a way out


def compiled(module: Any) -> Any:
    return torch.compile(module, backend="eager")


@pytest.mark.parametrize("wrapper", [torch.optim.swa_utils.AveragedModel, nn.DataParallel, compiled])
def test_wrappers_are_seen_through(wrapper: Callable[[Any], Any]) -> None:
    module = settled(Net(last, **parts()))
    np.testing.assert_allclose(rb.from_torch(wrapper(module), **LAST).logits(X), result(module, X), rtol=1e-12)
    parts_of_chain = settled(nn.ModuleList([nn.RNN(3, 4), SelectLast(), nn.Linear(4, 5), nn.Softmax(dim=1)]))
    wanted = result(nn.Sequential(*parts_of_chain), X)
    for chain in (
        wrapper(nn.Sequential(*parts_of_chain)),
        nn.Sequential(wrapper(parts_of_chain[0]), *parts_of_chain[1:]),
    ):
        found = rb.from_torch(chain, reads="last").probabilities(X)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_hook_is_removed() -> None:
    module = settled(Net(steps, **parts()))
    handle = module.rnn.register_forward_hook(lambda *_: None)

    def without() -> rb.RNN:
        handle.remove()
        return rb.from_torch(module, **GIVEN)

    wanted = result(module, X)
    follow("module_hook", lambda **_: rb.from_torch(module, **GIVEN), wanted, lambda rnn: rnn.logits(X), then=without)


def test_a_lazy_module_is_run_first() -> None:
    module = Net(steps, rnn=nn.RNN(3, 4), fc=nn.LazyLinear(5)).double()

    def load(**_: Any) -> rb.RNN:
        return rb.from_torch(module, **GIVEN)

    def after_a_batch() -> rb.RNN:
        module(torch.as_tensor(X))
        return load()

    with pytest.raises(rb.FormatError, match=r"'fc' is a torch.*LazyLinear, whose weights have no shape yet"):
        load()
    rnn = follow("module_lazy", load, 0, lambda rnn: 0, then=after_a_batch)
    np.testing.assert_allclose(rnn.logits(X), result(module, X), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:.*jit", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("program", [torch.jit.script, lambda module: torch.jit.trace(module, torch.as_tensor(X))])
def test_a_scripted_module_is_given_as_its_state_dict(program: Callable[[Any], Any]) -> None:
    module = nn.RNN(3, 4).double().eval()
    wanted = module(torch.as_tensor(X))[0].detach()
    scripted = program(module)
    follow(
        "module_scripted",
        lambda **_: rb.from_torch(scripted),
        wanted,
        lambda rnn: rnn(X)[0],
        then=lambda: rb.from_torch(scripted.state_dict(), activation="tanh"),
    )


def test_arrays_of_the_modules_own_are_left_out_and_given_at_each_call() -> None:
    module = Net(lambda m, x: m.rnn(x - m.mean, m.h0)[0], rnn=nn.RNN(3, 4))
    module.h0 = nn.Parameter(torch.randn(1, B, 4))
    module.register_buffer("mean", torch.zeros(3), persistent=False)
    module = settled(module)
    state = module.h0.detach().numpy()
    follow(
        "module_state", lambda **given: rb.from_torch(module, **given), result(module, X), lambda rnn: rnn(X, state)[0]
    )


def test_code_of_ones_own_is_left_out() -> None:
    module = settled(Net(steps, **parts(own=Own(), attention=nn.MultiheadAttention(4, 1))))
    wanted = result(module, X)
    with pytest.raises(rb.FormatError, match=r"'own' .Own. is a class of your own, .* pass roles={'own': 'ignore'}"):
        rb.from_torch(module, **GIVEN, roles={"attention": "ignore"})
    follow(
        "ignore",
        lambda roles={}, **_: rb.from_torch(module, **GIVEN, roles={"attention": "ignore", **roles}),
        wanted,
        lambda rnn: rnn.logits(X),
    )


def dynamic() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.RNN(3, 4), nn.Linear(4, 5)), {nn.Linear})


def with_forward() -> Any:
    module = Net(steps, **parts())
    module.rnn.forward = lambda x: (x, x)
    return module


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "an LSTM": (lambda: nn.LSTM(3, 4), "is a torch.nn.modules.rnn.LSTM, which has gates"),
    "a GRU": (lambda: nn.Sequential(nn.GRU(3, 4)), "'0' is a torch.nn.modules.rnn.GRU, which has gates"),
    "a projection": (lambda: nn.LSTM(3, 4, proj_size=2), "which has gates"),
    "another layer": (
        lambda: nn.Sequential(nn.RNN(3, 4), nn.LayerNorm(4)),
        "'1' is a torch.nn.modules.normalization.LayerNorm, which is not understood",
    ),
    "a Flatten": (
        lambda: nn.Sequential(nn.RNN(3, 4), nn.Flatten(), nn.Linear(4, 5)),
        "'1' is a torch.nn.modules.flatten.Flatten, which is not understood",
    ),
    "max_norm": (lambda: nn.Sequential(nn.Embedding(5, 3, max_norm=1.0), nn.RNN(3, 4)), "the embedding '0' has max_norm"),
    "no values": (lambda: nn.RNN(3, 4, device="meta"), "'weight_ih_l0' is on torch's meta device"),
    "quantized": (dynamic, r"'1' is a torch.*quantized.*Linear, which is not understood"),
    "a subclass": (lambda: Twice(3, 4), "computes something else than torch's RNN"),
    "a method of its own": (
        with_forward,
        "'rnn' is a torch.nn.modules.rnn.RNN, which computes something else",
    ),
    "attention": (lambda: Net(steps, **parts(a=nn.MultiheadAttention(4, 1))), "'a' is a torch.*MultiheadAttention, which is"),
    "classes by clusters": (
        lambda: Net(steps, **parts(p=nn.AdaptiveLogSoftmaxWithLoss(4, 5, [2]))),
        "'p' is a torch.nn.modules.adaptive.AdaptiveLogSoftmaxWithLoss, which is not understood",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_modules_of_torch_are_refused_by_name(kind: str) -> None:
    make, match = REFUSED[kind]
    with pytest.raises(rb.FormatError, match=match) as caught:
        rb.from_torch(make())
    assert len(str(caught.value)) < 400


def random_chain(seed: int) -> tuple[Any, bool]:
    """An nn.Sequential of anything in any order, and whether it takes token ids."""
    draw = np.random.default_rng(seed)
    width, made = int(draw.integers(2, 6)), []

    def linear() -> None:
        nonlocal width
        made.append(nn.Linear(width, int(draw.integers(2, 7)), bias=bool(draw.integers(2))))
        width = made[-1].out_features

    def activation() -> Any:
        kinds = [
            nn.ReLU(),
            nn.Tanh(),
            nn.Sigmoid(),
            nn.ELU(0.5),
            nn.LeakyReLU(0.3),
            nn.Softmax(-1),
            nn.Dropout(),
            nn.Identity(),
        ]
        return kinds[draw.integers(len(kinds))]

    takes_ids = bool(draw.integers(2))
    if takes_ids:
        made.append(nn.Embedding(9, width))
    for _ in range(draw.integers(4)):
        if draw.integers(2):
            linear()
        else:
            made.append(activation())
    size = int(draw.integers(2, 6))
    made.append(nn.RNN(width, size, int(draw.integers(1, 3)), bidirectional=bool(draw.integers(2))))
    width = size * (1 + made[-1].bidirectional)
    made.append(SelectLast())
    for _ in range(draw.integers(6)):
        if (kind := draw.integers(4)) == 0:
            made.append(nn.BatchNorm1d(width, affine=bool(draw.integers(2))))
        elif kind == 1:
            made.append(activation())
        else:
            linear()
    return settled(nn.Sequential(*made)), takes_ids


@pytest.mark.parametrize("block", range(4))
def test_random_chains_have_the_numbers_of_their_forward(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        module, takes_ids = random_chain(seed)
        first = next(part for part in module if hasattr(part, "weight") or isinstance(part, nn.RNN))
        x = IDS if takes_ids else drawn(T, B, getattr(first, "in_features", None) or first.input_size)
        ends = [part for part in module if not isinstance(part, (nn.Dropout, nn.Identity, nn.BatchNorm1d))]
        rnn = rb.from_torch(module, reads="last", **(GIVEN if isinstance(ends[-1], nn.Linear) else {}))
        found = rnn.last(x) if rnn.readout is None else rnn.probabilities(x)
        np.testing.assert_allclose(found, result(module, x), rtol=1e-6, atol=1e-8, err_msg=f"{seed}: {module}")


def test_values() -> None:
    module = nn.RNN(3, 4)
    x = torch.randn(5, 2, 3)
    wanted = module(x)[0].detach()
    empty = nn.RNN(3, 4, device="meta")

    def loaded() -> rb.RNN:
        empty.load_state_dict(module.state_dict(), assign=True)
        return rb.from_torch(empty)

    follow("values", lambda: rb.from_torch(empty), wanted, lambda rnn: rnn(x.numpy())[0], then=loaded)
