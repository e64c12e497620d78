"""One record of options feeds `load`, the importers and the command line."""

import doctest
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rnn_backends as rb
from rnn_backends.cli.parser import given, make_parser
from rnn_backends.formats.content import FORMATS
from rnn_backends.formats.options import OPTIONS, LoadOptions

IMPORTERS: dict[str, Callable[..., rb.RNN]] = {
    "torch": rb.from_torch,
    "flax": rb.from_flax,
    "keras": rb.from_keras,
    "onnx": rb.from_onnx,
}


VALUES: dict[str, Any] = {
    "activation": "tanh", "activations": ("relu", "tanh"), "cell": "RateCell", "leak": 0.5, "flag": True, "key": ("state", "ema"), "number": 1e-5,
    "paths": ["a"], "reads": "last", "takes": "tokens", "texts": {"fc": "readout"}, "vocabulary": "abc",
}  # fmt: skip
"""A value of each kind of option."""
WORDS: dict[str, list[str]] = {
    "activation": ["tanh"], "activations": ["relu, tanh"], "cell": ["RateCell"], "leak": ["0.5"], "flag": [], "key": ["state", "--key", "ema"], "number": ["1e-5"],
    "reads": ["last"], "takes": ["tokens"], "texts": ["fc=readout"], "paths": ["a"],
    "vocabulary": ["abc"],
}  # fmt: skip
"""The same on a command line."""


def parameters(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters) - {"source", "model", "path", "backend"}


@pytest.mark.parametrize("form", IMPORTERS)
def test_an_importer_takes_the_options_of_its_format(form: str) -> None:
    assert parameters(IMPORTERS[form]) == {name for name, option in OPTIONS.items() if form in option.formats}


def test_load_and_the_command_line_take_the_same_options() -> None:
    assert parameters(rb.load) == set(OPTIONS)
    words = [word for name in OPTIONS for word in _words(name)]
    arguments = make_parser().parse_args(["info", "m.npz", *words])
    assert given(arguments) == {name: VALUES[OPTIONS[name].kind] for name in OPTIONS}


def _words(name: str) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    return [flag, *WORDS[OPTIONS[name].kind]]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("form", sorted({module.partition(".")[0] for module in FORMATS}))
def test_an_option_is_taken_or_refused(form: str, name: str) -> None:
    value = VALUES[OPTIONS[name].kind]
    if form in OPTIONS[name].formats:
        assert getattr(LoadOptions.given(form, **{name: value}), name) is not None
    else:
        with pytest.raises(rb.ArgumentError, match=f"`{name}` is an option of .*; leave `{name}` out"):
            LoadOptions.given(form, **{name: value})


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.kind == "flag"])
@pytest.mark.parametrize("value", [1, "yes", 0.0])
def test_flags_are_true_or_false(name: str, value: Any) -> None:
    with pytest.raises(rb.ArgumentError, match=f"`{name}` must be True or False; got {value!r}"):
        LoadOptions.given(OPTIONS[name].formats[0], **{name: value})


def test_what_a_source_records_is_left_out() -> None:
    options = LoadOptions.given("torch", batch_first=True)
    assert options.completed("the module", {"activation": max, "batch_first": None}).activation is max
    with pytest.raises(rb.FormatError, match="the module records which axis is the batch; leave `batch_first` out"):
        options.completed("the module", {"batch_first": False})


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras on JAX
@pytest.mark.parametrize("form", ["keras", "onnx"])
def test_examples_that_need_a_framework(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    pytest.importorskip(form)
    monkeypatch.chdir(tmp_path)
    (test,) = doctest.DocTestFinder(recurse=False).find(IMPORTERS[form], globs={})
    for example in test.examples:
        example.options.clear()  # the directive to skip it
    assert doctest.DocTestRunner().run(test) == doctest.TestResults(0, len(test.examples))
