"""Weights that torch computes of others: the same numbers as torch's own, of arrays by their names."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.formats.effective import effective
from rnn_backends.formats.made import declared_of, of_array

Arrays = dict[str, NDArray[Any]]


def normal(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


def made(held: Arrays) -> Arrays:
    """The arrays of a state dict with those that are computed in the place of their parts."""
    computed = effective({name: of_array(array) for name, array in held.items()})
    found = {name: array.make() for name, array in computed.items()}
    assert {name: (str(array.dtype), array.shape) for name, array in found.items()} == declared_of(computed)
    return found


def singular(weight: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The first singular vectors of a matrix, as a power iteration finds them."""
    u, _, v = np.linalg.svd(weight.astype("f8"))
    return u[:, 0].astype("f4"), v[0].astype("f4")


@pytest.mark.parametrize(
    "names", [("{}_g", "{}_v"), ("parametrizations.{}.original0", "parametrizations.{}.original1")]
)
@pytest.mark.parametrize("axes", [(1,), (0,), (0, 1)])
def test_weight_norm_is_over_all_axes_but_that_of_g(names: tuple[str, str], axes: tuple[int, ...]) -> None:
    v = normal(4, 3)
    norm = np.sqrt((v.astype("f8") ** 2).sum(axis=axes, keepdims=True))
    g = abs(normal(*norm.shape, seed=1)) if axes != (0, 1) else np.asarray(2.5, "f4")
    size, direction = (f"net.rnn.{name.format('weight_ih_l0')}" for name in names)
    found = made({"net.rnn.bias_hh_l0": normal(4), size: g, direction: v})
    assert list(found) == ["net.rnn.bias_hh_l0", "net.rnn.weight_ih_l0"]
    np.testing.assert_array_equal(found["net.rnn.weight_ih_l0"], (v * (g.astype("f8") / norm)).astype("f4"))


def test_a_mask_leaves_what_is_pruned_out() -> None:
    weight, mask = normal(2, 4), np.array([[1, 0, 1, 0], [0, 1, 1, 1]], "f4")
    found = made({"weight_orig": weight, "weight_mask": mask})
    np.testing.assert_array_equal(found["weight"], np.where(mask == 1, weight, 0))


@pytest.mark.parametrize(
    "names",
    [
        ("weight_orig", "weight_u", "weight_v"),
        tuple(f"parametrizations.weight.{part}" for part in ("original", "0._u", "0._v")),
    ],
)
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (4, 4)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_spectral_norm_divides_by_u_w_v(names: tuple[str, ...], shape: tuple[int, int], turned: bool) -> None:
    weight = normal(*shape)
    u, v = singular(weight.T if turned else weight)
    sigma = np.linalg.svd(weight.astype("f8"))[1][0]
    found = made(dict(zip(names, (weight, u, v), strict=True)))
    np.testing.assert_allclose(found["weight"], weight / sigma, rtol=2e-6)


def test_u_and_v_need_not_be_singular_vectors() -> None:
    weight, v = normal(4, 4), normal(4, seed=1)
    u = weight @ v / np.linalg.norm(weight @ v)
    found = made({"weight_orig": weight, "weight_u": u, "weight_v": v})
    np.testing.assert_allclose(found["weight"], weight / (u @ weight @ v), rtol=1e-5)


def test_a_spectral_norm_of_which_nothing_says_which_axis_it_is_over_is_refused() -> None:
    with pytest.raises(rb.FormatError, match="do not record whether it is of the matrix or of its transpose"):
        made({"weight_orig": normal(8, 8), "weight_u": normal(8, seed=1), "weight_v": normal(8, seed=2)})


WRONG: dict[str, Arrays] = {
    "g of another length": {"weight_g": normal(3, 1), "weight_v": normal(4, 3)},
    "g along two axes": {"weight_g": normal(4, 3), "weight_v": normal(4, 3)},
    "a mask of another shape": {"weight_orig": normal(4, 3), "weight_mask": normal(3, 4)},
    "u of another length": {"weight_orig": normal(4, 3), "weight_u": normal(4), "weight_v": normal(4)},
    "two dtypes": {"weight_g": normal(4, 1), "weight_v": normal(4, 3).astype("f8")},
}


@pytest.mark.parametrize("kind", WRONG)
def test_parts_that_do_not_fit_are_refused(kind: str) -> None:
    with pytest.raises(rb.FormatError, match=r"cannot be computed of .*: they do not fit one another"):
        made(WRONG[kind])


@pytest.mark.parametrize(
    "held",
    [
        {"weight": normal(4, 3), "weight_orig": normal(4, 3), "weight_mask": normal(4, 3)},
        {"attention.h_g": normal(4, 1), "attention.h_v": normal(4, 3)},
        {"weight_g": normal(4, 1)},
    ],
)
def test_other_names_are_left_as_they_are(held: Arrays) -> None:
    assert list(made(held)) == list(held)


@pytest.mark.parametrize("more", [{"0.base": normal(4, 4)}, {}, {"0._u": normal(4)}])
def test_other_parametrizations_are_refused_by_name(more: Arrays) -> None:
    held = {"original": normal(4, 4)} | more
    with pytest.raises(rb.FormatError, match=r"'r.weight' is parametrized by .*; call torch.*remove_parametrizations"):
        made({f"r.parametrizations.weight.{part}": array for part, array in held.items()})


def wrappers(torch: Any) -> list[Callable[[Any, str], Any]]:
    from torch.nn.utils import prune

    utils, new = torch.nn.utils, torch.nn.utils.parametrizations
    return [
        *(lambda m, name, dim=dim: utils.weight_norm(m, name, dim) for dim in (0, 1, None)),
        *(lambda m, name, dim=dim: new.weight_norm(m, name, dim) for dim in (0, 1, None)),
        *(lambda m, name, dim=dim: utils.spectral_norm(m, name, dim=dim) for dim in (0, 1)),
        *(lambda m, name, dim=dim: new.spectral_norm(m, name, dim=dim) for dim in (0, 1)),
        lambda m, name: prune.l1_unstructured(m, name, 0.5),
    ]


def test_state_dicts_of_torch_give_its_weights(torch: Any) -> None:
    torch.manual_seed(0)
    for wrap in wrappers(torch):
        for name in ("weight_ih_l0", "weight_hh_l0"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # some are deprecated
                module = wrap(torch.nn.RNN(3, 4), name)
            for training in (True, True, False):
                module.train(training)(torch.randn(5, 2, 3))
            found = made({key: tensor.numpy() for key, tensor in module.state_dict().items()})
            np.testing.assert_allclose(found[name], getattr(module, name).detach(), rtol=1e-5, atol=1e-7)
