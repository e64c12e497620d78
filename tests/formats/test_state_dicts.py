"""State dicts of any network: read right, or refused with the roles to give, which then make it right."""

import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from state_dicts import Drawn, drawn
from ways import LONGEST

import rnn_backends as rb
from rnn_backends.formats.advice import proposed


def result(rnn: rb.RNN, x: Any) -> Any:
    return rnn(x)[0] if rnn.readout is None else rnn.probabilities(x)


def assert_right(rnn: rb.RNN, case: Drawn) -> None:
    np.testing.assert_allclose(result(rnn, case.x), case.wanted, rtol=1e-9, atol=1e-9)


def outcome(case: Drawn, read: Any) -> str:
    """Read a state dict; return whether its roles were inferred."""
    try:
        rnn = read(**case.options)
    except rb.FormatError as error:
        message = str(error)
    else:
        assert_right(rnn, case)
        return "inferred"
    assert_right(read(**case.options, roles=case.roles), case)
    assert_loads(message, case, read)
    return "given"


def assert_loads(message: str, case: Drawn, read: Any) -> None:
    """Check that the roles that messages propose lead to a network, be it that of the draw or another."""
    options: dict[str, Any] = {"activation": case.options["activation"]}
    roles: dict[str, str] = {}
    for _ in range(6):  # roles of the layers, then of the others, then activations, which may tell more
        assert len(re.sub(r"^/\S*: ", "", message)) <= LONGEST
        found = proposed(message)
        if not found:  # of layers that were chosen there is no network
            assert "pass roles= with what each is" in message
            return
        roles |= found.pop("roles", {})
        options |= {**found, "roles": roles}
        try:
            assert read(**options)
        except rb.FormatError as error:
            message = str(error)
        else:
            return
    pytest.fail(message)


@given(seed=st.integers(0, 2**40))
@settings(max_examples=600)
def test_a_state_dict_is_read_right_or_its_roles_are_asked_for(seed: int) -> None:
    case = drawn(seed)
    outcome(case, partial(rb.from_torch, case.state))


def test_roles_are_inferred_where_modules_stand_in_order_and_sizes_differ() -> None:
    cases = [case for seed in range(300) if not _shuffled(case := drawn(seed, most=60))]
    found = Counter(outcome(case, partial(rb.from_torch, case.state)) for case in cases)
    assert found["inferred"] > 19 * found["given"]


def test_the_order_of_arrays_in_safetensors_means_nothing(tmp_path: Path) -> None:
    found: Counter[str] = Counter()
    for seed in range(200):
        case = drawn(seed)
        save_file({name: np.ascontiguousarray(array) for name, array in case.state.items()}, tmp_path / "m.safetensors")
        found[outcome(case, partial(rb.load, tmp_path / "m.safetensors"))] += 1
    assert min(found["inferred"], found["given"]) > 20


def _shuffled(case: Drawn) -> bool:
    """Return whether modules stand in another order than that in which they are applied."""
    names = list(dict.fromkeys(name.rpartition(".")[0] for name in case.state))
    held = [name for name in names if name in case.roles]
    return held != list(case.roles)
