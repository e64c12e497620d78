"""The programs of examples/serve: what they answer, what they refuse, and that threads change nothing.

That of FastAPI is tested where FastAPI is installed, as in the session `site`.
"""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import prediction
import pytest
import wsgi
from http_clients import Send, by_fastapi, by_wsgi, unvalidated

import rnn_backends as rb

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "serve"
NAMES = ["Nakamura", "rossi", "", "  Virtanen ", "O'Brien-\u00c7elik"]
FORECAST = rb.load(ROOT / "examples" / "deploy" / "forecast.safetensors")
MONTHS = np.loadtxt(ROOT / "examples" / "deploy" / "data" / "sea-temperatures.csv", delimiter=",", skiprows=1)[:, 1:]


@pytest.fixture(params=["wsgi", "fastapi"])
def send(request: pytest.FixtureRequest) -> Send:
    return by_wsgi if request.param == "wsgi" else by_fastapi()


@pytest.fixture
def features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the applications serve a network of features."""
    serve(prediction.Predictor(FORECAST), monkeypatch)


def serve(served: prediction.Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi, "predictor", served)
    if "fastapi_app" in sys.modules:
        monkeypatch.setattr(sys.modules["fastapi_app"], "predictor", served)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_texts_are_answered_as_the_network_does(send: Send) -> None:
    status, answers, _ = send(encoded(NAMES))
    assert status == 200
    rnn = rb.load(prediction.MODEL)
    for name, answer in zip(NAMES, answers, strict=True):
        wanted = rnn.probabilities(name.strip().lower())
        classes = rnn.metadata["classes"].split()
        assert list(answer["probabilities"]) == classes
        np.testing.assert_allclose(list(answer["probabilities"].values()), wanted, atol=1e-6)
        assert answer["class"] == classes[wanted.argmax()]
    assert [answer["class"] for answer in answers[:2]] == ["Japanese", "Italian"]


def test_features_of_unequal_lengths_are_answered_as_each_alone(send: Send, features: None) -> None:
    sequences = [MONTHS[:24], MONTHS[24:36], MONTHS[:0], MONTHS[100:101]]
    status, answers, _ = send(encoded([sequence.tolist() for sequence in sequences]))
    assert status == 200
    for sequence, answer in zip(sequences, answers, strict=True):
        np.testing.assert_allclose(answer["outputs"], FORECAST.logits(sequence[None])[0], rtol=1e-5)


def test_whole_numbers_are_features(send: Send, features: None) -> None:
    assert send(b"[[[1, 27, 26, 27, 28]]]").content == send(b"[[[1.0, 27.0, 26.0, 27.0, 28.0]]]").content


@pytest.mark.parametrize("content", ["names", "features"])
def test_an_empty_batch(send: Send, content: str, request: pytest.FixtureRequest) -> None:
    if content == "features":
        request.getfixturevalue("features")
    assert send(b" [] ")[:2] == (200, [])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body must be JSON in UTF-8."),
        (b"name=Rossi", "the body must be JSON in UTF-8."),
        (b'["Rossi"', "the body must be JSON in UTF-8."),
        (b'["\xff"]', "the body must be JSON in UTF-8."),
        ('["Rossi"]'.encode("utf-16"), "the body must be JSON in UTF-8."),
        ('["Rossi"]'.encode("utf-32"), "the body must be JSON in UTF-8."),
        (b"[" * 100_000, "the body must be JSON in UTF-8."),
        (b"[" + b"9" * 5000 + b"]", "the body must be JSON in UTF-8."),
        (b"NaN", "the body must be a list of sequences."),
        (b'{"texts": ["Rossi"]}', "the body must be a list of sequences."),
        (b'"Rossi"', "the body must be a list of sequences."),
        (b'["Rossi", NaN]', "`sequences[1]` must be a text or a list of steps."),
        (b'["Rossi", null]', "`sequences[1]` must be a text or a list of steps."),
        (b'["Rossi", [1, 2]]', "`sequences[1]` must be a text, which this network reads; got a list."),
    ],
)
def test_bad_texts(send: Send, body: bytes, message: str) -> None:
    assert send(body)[:2] == (400, {"detail": message})


LIMITS = "`sequences[0][0]` must hold numbers from -10000 to 10000."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[[[1, 2, 3, 4, NaN]]]", LIMITS),
        ("[[[1, 2, 3, 4, true]]]", LIMITS),
        ("[[[1, 2, 3, 4, -Infinity]]]", LIMITS),
        ("[[[1, 2, 3, 4, 1e400]]]", LIMITS),
        ("[[[1, 2, 3, 4, 1e300]]]", LIMITS),
        (f"[[[1, 2, 3, 4, {-(2**63)}]]]", LIMITS),
        (f"[[[1, 2, 3, 4, {2**64}]]]", LIMITS),
        ("[[[1, 2, 3, 4, null]]]", LIMITS),
        ('[[[1, 2, 3, 4, "5"]]]', LIMITS),
        ("[[[1, 2, 3, 4, [5]]]]", LIMITS),
        ('["Rossi"]', "`sequences[0]` must be a list of steps, which this network reads; got a text."),
        ("[[[1, 2, 3]]]", "`sequences[0][0]` must be a list of 5 numbers; got 3 items."),
        ('[["abcde"]]', "`sequences[0][0]` must be a list of 5 numbers; got no list."),
        ("[[1, 2, 3, 4, 5]]", "`sequences[0][0]` must be a list of 5 numbers; got no list."),
        ("[[[[1, 2, 3, 4, 5]]]]", "`sequences[0][0]` must be a list of 5 numbers; got 1 items."),
        ("[[[1, 2, 3, 4, 5]], [[1, 2, 3]]]", "`sequences[1][0]` must be a list of 5 numbers; got 3 items."),
        ("[[[1, 2, 3, 4, 5], [1, 2, 3]]]", "`sequences[0][1]` must be a list of 5 numbers; got 3 items."),
        ("[" * 90 + "]" * 90, "`sequences[0][0]` must be a list of 5 numbers; got 1 items."),
    ],
)
def test_bad_features(send: Send, features: None, body: str, message: str) -> None:
    status, answer, _ = send(body.encode())
    assert status == 400
    assert answer["detail"] == message


def test_what_is_too_large(send: Send) -> None:
    assert send(encoded(["a"] * prediction.MOST_SEQUENCES)).status == 200
    assert send(encoded(["a" * prediction.MOST_STEPS])).status == 200
    assert send(encoded(["a"]).ljust(prediction.MOST_BYTES)).status == 200
    for body, message in {
        encoded(["a"] * (prediction.MOST_SEQUENCES + 1)): "at most 256 sequences; got 257",
        encoded(["a", "a" * (prediction.MOST_STEPS + 1)]): "`sequences[1]` has 1001",
        encoded(["a"]).ljust(prediction.MOST_BYTES + 1): "at most 1048576 bytes",
    }.items():
        status, answer, _ = send(body)
        assert status == 413
        assert message in answer["detail"]


def test_a_long_body_that_does_not_state_its_length() -> None:
    """It is read until it is too long, and no further."""
    read = []

    async def parts() -> AsyncIterator[bytes]:
        for part in range(40):
            read.append(part)
            yield b" " * 2**16

    assert by_fastapi()(parts()).status == 413
    assert len(read) == prediction.MOST_BYTES // 2**16 + 1


@pytest.mark.parametrize("length", ["", "-1", "1.5", "ten", "\u00b2"])
def test_a_length_that_is_none(length: str) -> None:
    assert unvalidated({"CONTENT_LENGTH": length}).status == 411


def test_a_length_that_no_integer_would_hold() -> None:
    assert unvalidated({"CONTENT_LENGTH": "9" * 5000}).status == 413


def test_other_methods_and_paths(send: Send) -> None:
    status, _, headers = send(None, "GET")
    assert status == 405
    assert {name.lower(): value for name, value in headers.items()}["allow"] == "POST"
    assert send(b"", "PUT").status == send(b"", "POST", "/health").status == 405
    assert send(b"[]", "POST", "/predictions").status == send(None, "GET", "/").status == 404
    assert send(b"[]", "POST", "/predict/").status == send(None, "GET", "/health/").status == 404
    assert send(None, "GET", "/health")[:2] == (200, {"status": "ok"})


def test_a_head_is_answered_without_a_body(send: Send) -> None:
    """`send` returns None for no content; that of the WSGI application is looked at by `wsgiref.validate` as well."""
    assert send(None, "HEAD", "/health")[:2] == (200, None)
    assert send(None, "HEAD", "/predict")[:2] == (405, None)
    assert send(None, "HEAD", "/")[:2] == (404, None)


def test_outputs_that_are_not_finite_are_the_servers_fault(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = rb.RNN.init(2, 3, output_size=2)
    bias = np.array([0, np.nan], np.float32)
    broken = rb.RNN(drawn.layers, replace(drawn.readout, bias=bias), reads="last")
    serve(prediction.Predictor(broken), monkeypatch)
    with pytest.raises(FloatingPointError, match=r"outputs for `sequences\[0\]` are not finite"):
        send(b"[[[1, 2]]]")


def test_a_fault_of_the_server_is_not_the_clients(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on to the server, which answers 500."""

    def fail(*_: Any, **__: Any) -> None:
        msg = "no room"
        raise rb.DeviceMemoryError(msg)

    monkeypatch.setattr(rb.RNN, "probabilities", fail)
    with pytest.raises(rb.DeviceMemoryError):
        send(b'["Rossi"]')


def test_text_that_the_vocabulary_cannot_spell(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = rb.RNN.init(2, 3, output_size=2)
    spelled = rb.RNN(drawn.layers, drawn.readout, reads="last", vocabulary="ab")
    serve(prediction.Predictor(spelled), monkeypatch)
    assert len(send(b'["abba"]').content[0]["outputs"]) == 2
    status, answer, _ = send(b'["abc"]')
    assert status == 400
    assert answer["detail"] == (
        "the character 'c' at line 1, column 3 is not in the model's vocabulary of 2 characters."
    )


def test_threads_get_the_answers_of_single_calls(send: Send) -> None:
    """Of batches of many shapes, more than the calls that a model keeps prepared."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    bodies = [
        encoded(["".join(rng.choice(letters, size=size)) for size in rng.integers(0, 12, rng.integers(1, 20))])
        for _ in range(64)
    ]
    wanted = [send(body).content for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        found = [answer.content for answer in pool.map(send, bodies * 4)]
    assert found == wanted * 4


def test_the_program_answers_over_a_socket() -> None:
    """In a process of its own, which serves one request; with a model of the environment."""
    script = (
        "import json, sys, threading, urllib.request; sys.path.insert(0, sys.argv[1]); import wsgi\n"
        "server = wsgi.make_server('127.0.0.1', 0, wsgi.application)\n"
        "thread = threading.Thread(target=server.handle_request); thread.start()\n"
        "address = f'http://127.0.0.1:{server.server_port}/predict'\n"
        "open_it = urllib.request.build_opener(urllib.request.ProxyHandler({})).open\n"
        "print(open_it(address, b'[\"Good food\"]').read().decode()); thread.join(); server.server_close()\n"
    )
    model = ROOT / "examples" / "deploy" / "sentiment.safetensors"
    environment = {**os.environ, "MODEL": str(model), "LOWER_CASE": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(FOLDER)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (answer,) = json.loads(run.stdout)
    assert list(answer["probabilities"]) == ["negative", "positive"]


FORKED = """
import os, sys, json, urllib.request
if "before" in sys.argv:
    sys.path.insert(0, sys.argv[1]); import wsgi
from wsgiref.simple_server import WSGIRequestHandler, make_server
WSGIRequestHandler.log_message = lambda *words: None
server = make_server("127.0.0.1", 0, lambda *given: sys.modules["wsgi"].application(*given))
children = []
for _ in range(2):
    children.append(os.fork())
    if not children[-1]:
        if "wsgi" not in sys.modules:
            sys.path.insert(0, sys.argv[1]); import wsgi
        for _ in range(3):
            server.handle_request()
        os._exit(0)
address = f"http://127.0.0.1:{server.server_port}/predict"
ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
print(*{ask(address, b'["Good food", "A dull film"]').read().decode() for _ in range(6)}, sep="\\n")
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
server.server_close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("loaded", ["before", "after"])
def test_processes_that_are_forked_give_one_answer(loaded: str) -> None:
    """Two workers of one socket, as of gunicorn, that load before the fork or after it; each answers three requests."""
    model = ROOT / "examples" / "deploy" / "sentiment.safetensors"
    environment = {**os.environ, "MODEL": str(model), "LOWER_CASE": "1", "RNN_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKED, str(FOLDER), loaded],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    (line,) = run.stdout.splitlines()
    assert [list(each["probabilities"]) for each in json.loads(line)] == [["negative", "positive"]] * 2
