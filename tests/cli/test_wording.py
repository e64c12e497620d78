"""Messages of the commands speak of options as they are typed."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from ways import PYTHON, require_same_on_the_command_line

import rnn_backends as rb
from rnn_backends.cli.parser import make_parser, parse
from rnn_backends.cli.wording import PHRASES, as_options, as_words, spelled
from rnn_backends.formats.advice import WAYS
from rnn_backends.formats.options import OPTIONS

PACKAGE = Path(rb.__file__).parent
PARTS: dict[str, Any] = {
    "activation": "'tanh'",
    "after": {"a": "readout"},
    "before": {"a b": "encoder", "c": "readout"},
    "example": ("relu", "softmax"),
    "extra": "onnx",
    "key": ("ema", "net"),
    "last": "'softmax'",
    "layers": ["a", ("b", "c")],
    "mask": "x != 0",
    "name": "w",
    "names": {"Wx": "weight_ih_l0.T"},
    "option": "activation",
    "place": "first",
    "reads": "'last'",
    "role": "readout",
    "roles": {"proj": "encoder", "fc": "readout"},
    "second": "'tanh'",
    "size": 3,
    "third": "'relu'",
}


@pytest.mark.parametrize("key", WAYS)
def test_no_way_out_is_in_python(key: str) -> None:
    """The tests of the formats check the same of all real messages."""
    parts = {name: PARTS[name] for name in re.findall(r"\{([a-z_]+)\}", WAYS[key])}
    message = f"net.pt: it does not record what it is; {WAYS[key].format(**parts)}."
    require_same_on_the_command_line(message)
    assert spelled(spelled(message)) == spelled(message)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("pass activation='tanh', and batch_first.", "pass --activation tanh, and --batch-first."),
        ("leave `batch_norm_eps` out", "leave --batch-norm-eps out"),
        ("pass residual=False, or True if so", "pass --no-residual, or --residual if so"),
        ("pass roles={'a b': 'readout', 'c': 'ignore'}.", "pass --roles 'a b=readout,c=ignore'."),
        ("pass roles= with what each is", "pass --roles with what each is"),
        ("pass key=('ema', 'net'), or", "pass --key ema --key net, or"),
        ("pass layers=['a', ('f', 'b')], the", "pass --layers a,f+b, the"),
        ("pass readout_activation=('relu', 'softmax')", "pass --readout-activation relu,softmax"),
        ("pass batch_norm_eps=1e-05, or", "pass --batch-norm-eps 1e-05, or"),
        ("unknown (from argument backend=).", "unknown (from option --backend)."),
        ("choose backend='numpy' for that", "choose --backend numpy for that"),
        ("pass masking=True, and mask=x != 0 at each call.", "pass --masking, and mask, x != 0, in the .npz file of the input."),
        ("pass roles={'h': 'ignore'}, and h_0= at each call if", "pass --roles h=ignore, and h_0 in the .npz file of the input if"),
        ("there is 'activation=x' and \"`reads`\"", "there is 'activation=x' and \"`reads`\""),
        ("batch_first.npz: a/batch_first and my-reads=1", "batch_first.npz: a/batch_first and my-reads=1"),
        ("`x` and `lengths`; torch.onnx.export(..., dynamo=False)", "`x` and `lengths`; torch.onnx.export(..., dynamo=False)"),
    ],
)  # fmt: skip
def test_how_options_are_spelled(message: str, wanted: str) -> None:
    assert spelled(message) == wanted


VALUES: dict[str, Any] = {
    "activation": "tanh",
    "activations": ("relu", "softmax"),
    "cell": "RateCell",
    "flag": False,
    "key": ("a", "b c"),
    "leak": 0.25,
    "number": 0.001,
    "paths": ["a", ("b", "c"), (None, "d")],
    "reads": "last",
    "takes": "tokens",
    "texts": {"a b": "c", "d": "e"},
    "vocabulary": "-a'b",
}
"""A value of each kind of options."""


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_read_as_it_is_spelled(name: str) -> None:
    value = VALUES[OPTIONS[name].kind]
    assert parse(["info", "m", *as_words(name, value)]).given == {name: value}
    assert shlex.split(as_options({name: value})) == as_words(name, value)
    assert as_words(name, value)[0].partition("=")[0] in make_parser().commands["info"].options


def test_phrases_are_those_of_the_library() -> None:
    texts = [re.sub(r"\"\s+f?\"", "", file.read_text()) for file in PACKAGE.rglob("*.py") if file.name != "wording.py"]
    assert [phrase for phrase in PHRASES if not any(phrase in text for text in texts)] == []


def test_what_the_commands_say(run: Run) -> None:
    rnn = rb.RNN.init(3, 4)
    rnn.save("m.npz")
    held: dict[str, Any] = {**rnn.to_torch()}
    np.savez("bare.npz", **held)
    np.save("x.npy", np.ones((4, 3)))
    Path("x.txt").write_text("hello")
    for words, message in (
        (["m.npz", "x.npy", "--output", "y.npy", "--predictions"], "--predictions needs a readout, and this model has none."),
        (["m.npz", "x.txt"], "give it token ids in a .npy file instead."),
        (["m.npz", "x.npy", "--lengths", "4"], "needs a batch of sequences; a single one is cut where it ends."),
        (["bare.npz", "x.npy"], "pass the right one, e.g. --activation tanh, and --batch-first where the batch is"),
        (["bare.npz", "x.npy", "--activation", "tan"], "--activation must be one of identity, tanh, "),
        (["bare.npz", "x.npy", "--activation", "tanh", "--takes", "tokens"], "`x` must hold token ids"),
    ):  # fmt: skip
        code, _, err = run("run", *words)
        assert (code, err.count("\n")) == (1, 1)
        assert message in err
        assert not PYTHON.search(err)
