"""The command `run` on CSV and JSON Lines, and its results in them."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Run
from tables import LENGTHS, features, loss_in, model, objects, read_csv, write_csv

import rnn_backends as rb
from rnn_backends.cli.running import samples

# CSV


@pytest.mark.parametrize("most", [1, 2, 256])
@pytest.mark.parametrize("batch_first", [False, True])
def test_the_sequences_of_a_table(
    run: Run, monkeypatch: pytest.MonkeyPatch, backend: str, batch_first: bool, most: int
) -> None:
    rnn = model(reads="last", batch_first=batch_first, metadata={"classes": "x y z"}).to(backend)
    write_csv()
    monkeypatch.setattr(samples, "MOST", most)
    words = ["run", "model.npz", "x.csv", "--id", "id", "--x", "left,right", "--backend", backend]
    wanted = np.array([rb.to_numpy(rnn.probabilities(x)) for x in features().values()])
    result = run(*words, "--output", "y.csv")
    assert (result.code, result.err) == (0, "")
    assert result.rows["output"].strip() == "y.csv: probabilities, 3 rows"
    assert (result.rows["sequences"].strip(), result.rows["sequence length"].strip()) == ("3", "up to 4")
    rows = read_csv(Path("y.csv").read_text())
    assert [row.pop("id") for row in rows] == list(LENGTHS)
    got = np.array([[float(row[name]) for name in "xyz"] for row in rows])
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
    rows = read_csv(run(*words, "--predictions").out)
    assert rows == [
        {"id": name, "prediction": "xyz"[index]} for name, index in zip(LENGTHS, wanted.argmax(axis=-1), strict=True)
    ]
    assert run(*words, "--output", "y.npy").code == 0
    np.testing.assert_allclose(np.load("y.npy"), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("names", ["0,1", "1,2", "a,1"])
def test_columns_may_be_numbered(run: Run, names: str) -> None:
    rnn = model()
    Path("x.csv").write_text(f"{names}\n0.5,0.25\n1,2\n")
    assert run("run", "model.npz", "x.csv", "--output", "y.npy").code == 0
    wanted = rnn.probabilities(np.array([[0.5, 0.25], [1, 2]], np.float32))
    np.testing.assert_allclose(np.load("y.npy"), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_the_steps_of_a_table(run: Run, form: str) -> None:
    rnn, delimiter = model(), {"csv": ",", "tsv": "\t"}[form]
    write_csv(f"x.{form}", delimiter)
    words = ["run", "model.npz", f"x.{form}", "--id", "id"]
    rows = read_csv(run(*words, "--output", "-", "--quiet").out, delimiter)
    wanted = np.concatenate([rnn.probabilities(x) for x in features().values()])
    np.testing.assert_allclose([[float(row[f"p{k}"]) for k in range(3)] for row in rows], wanted, rtol=0, atol=1e-6)
    places = [(name, str(step)) for name, length in LENGTHS.items() for step in range(length)]
    assert [(row["id"], row["step"]) for row in rows] == places
    found = objects(run(*words, "--to", "jsonl", "--predictions").out)
    assert found == [{"id": name, "predictions": rnn.predict(x).tolist()} for name, x in features().items()]
    result = run(*words, "--output", "y.npy")
    assert (result.code, result.out) == (1, "")
    assert "sequences of several lengths make no array of their steps; write .jsonl or .csv" in result.err


def test_numbers_are_the_shortest_that_are_read_as_the_same(run: Run) -> None:
    for dtype in ("float32", "float64", "float16"):
        rnn = model().to(dtype=dtype)
        rnn.save("model.npz")
        write_csv()
        words = ["run", "model.npz", "x.csv", "--id", "id", "--quiet"]
        rows = read_csv(run(*words, "--output", "-").out)
        got = np.array([[row[f"p{k}"] for k in range(3)] for row in rows])
        wanted = [number for row in objects(run(*words, "--to", "jsonl").out) for number in row["probabilities"]]
        np.testing.assert_array_equal(got.astype(dtype), np.array(wanted).astype(dtype))
        assert max(map(len, got.ravel())) <= {"float16": 10, "float32": 14, "float64": 23}[dtype]


def test_a_table_without_ids_is_one_sequence(run: Run) -> None:
    rnn = model(reads="mean", readout=None)
    write_csv()
    result = run("run", "model.npz", "x.csv", "--x", "left,right", "--output", "y.csv")
    assert result.rows["output"].strip() == "y.csv: hidden states (the model has no readout), 1 row"
    (row,) = read_csv(Path("y.csv").read_text())
    wanted = rnn.last(np.concatenate(list(features().values())))
    np.testing.assert_allclose([float(row[f"h{k}"]) for k in range(5)], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("named", [False, True])
def test_targets_of_steps_and_of_sequences(run: Run, named: bool) -> None:
    rnn = model(metadata={"classes": "x y z"})
    classes = {name: np.arange(length) % 3 for name, length in LENGTHS.items()}
    spelled = {name: ["xyz"[k] if named else k for k in values] for name, values in classes.items()}
    write_csv(label=spelled)
    words = ["run", "model.npz", "x.csv", "--id", "id", "--targets", "label"]
    losses = [float(rnn.loss(x, classes[name])) * len(x) for name, x in features().items()]
    value = run(*words).rows["cross-entropy"].split()[0]
    assert float(value) == pytest.approx(sum(losses) / 8, abs=2e-6)
    err = run(*words, "--reads", "last").err
    assert "the sequence 'a' is read as a whole, and its rows from line 2 on have several targets" in err
    write_csv(label={name: [index] * 4 for index, name in enumerate(LENGTHS)})
    value = run(*words, "--reads", "last").rows["cross-entropy"].split()[0]
    losses = [float(rnn.loss(x, index, reads="last")) for index, x in enumerate(features().values())]
    assert float(value) == pytest.approx(sum(losses) / 3, abs=2e-6)


def test_token_ids_of_a_table(run: Run) -> None:
    drawn = rb.RNN.init(4, 5, output_size=3, seed=1)
    rnn = rb.RNN(drawn.layers, drawn.readout, reads="last", takes="tokens")
    rnn.save("model.npz")
    Path("x.csv").write_text("id,token\na,3\na,0\nb,1\n")
    rows = read_csv(run("run", "model.npz", "x.csv", "--id", "id", "--predictions").out)
    assert rows == [
        {"id": "a", "prediction": str(rnn.predict([3, 0]))},
        {"id": "b", "prediction": str(rnn.predict([1]))},
    ]
    Path("x.csv").write_text("id,token\na,3.5\n")
    assert "the token ids in column 'token' must be integers" in run("run", "model.npz", "x.csv", "--id", "id").err


def test_each_row_of_text_is_a_sequence(run: Run) -> None:
    drawn = rb.RNN.init(4, 5, output_size=2, seed=1)
    rnn = rb.RNN(drawn.layers, drawn.readout, reads="max", vocabulary=["good", "bad", "food", "?"], unknown="?",
                 metadata={"classes": "yes no"})  # fmt: skip
    rnn.save("model.npz")
    texts = ["good food", 'bad, "bad"\nfood', ""]
    with Path("x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["nr", "text", "mood"], *([k, text, "no"] for k, text in enumerate(texts))])
    words = ["run", "model.npz", "x.csv", "--id", "nr", "--targets", "mood"]
    result = run(*words, "--to", "jsonl", "--predictions")
    wanted = [{"nr": str(k), "prediction": ("yes", "no")[rnn.predict(text)]} for k, text in enumerate(texts)]
    assert objects(result.out) == wanted
    losses = [float(rnn.loss(text, 1)) for text in texts[:2]]  # the third has no step, and counts in no loss
    assert loss_in(result.err) == pytest.approx(sum(losses) / 2, abs=2e-6)
    result = run("run", "model.npz", "x.csv", "--x", "text", "--predictions")
    assert [row["line"] for row in read_csv(result.out)] == ["2", "3", "5"]


# JSON Lines


@pytest.mark.parametrize("is_piped", [False, True])
def test_each_object_is_a_sequence(run: Run, monkeypatch: pytest.MonkeyPatch, is_piped: bool) -> None:
    rnn = model(metadata={"classes": "x y z"})
    lines = [{"key": k, "x": x.tolist(), "y": ["x"] * len(x)} for k, x in enumerate(features().values())]
    text = "\n".join(map(json.dumps, lines))
    Path("x.jsonl").write_text(text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode()))))
    given = ["-", "--from", "jsonl"] if is_piped else ["x.jsonl"]
    result = run("run", "model.npz", *given, "--id", "key", "--targets", "y", "--output", "-")
    found = objects(result.out)
    assert [each["key"] for each in found] == [0, 1, 2]
    for each, x in zip(found, features().values(), strict=True):
        np.testing.assert_allclose(each["probabilities"], rnn.probabilities(x), rtol=0, atol=1e-6)
    losses = [float(rnn.loss(x, [0] * len(x))) * len(x) for x in features().values()]
    assert loss_in(result.err) == pytest.approx(sum(losses) / 8, abs=2e-6)


def test_fields_of_steps_and_of_columns(run: Run) -> None:
    rnn = model(reads="last")
    steps = [{"id": name, "a": a, "b": b} for name, x in features().items() for a, b in x.tolist()]
    Path("steps.jsonl").write_text("\n".join(map(json.dumps, steps)))
    columns = [{"id": name, "a": x[:, 0].tolist(), "b": x[:, 1].tolist()} for name, x in features().items()]
    Path("columns.jsonl").write_text("\n\n".join(map(json.dumps, columns)))
    wanted = [{"id": name, "prediction": int(rnn.predict(x))} for name, x in features().items()]
    for name in ("steps.jsonl", "columns.jsonl"):
        result = run("run", "model.npz", name, "--id", "id", "--x", "a,b", "--predictions")
        assert objects(result.out) == wanted


def test_texts_and_token_ids_in_objects(run: Run) -> None:
    drawn = rb.RNN.init(3, 5, output_size=3, seed=1)
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary="abc")
    rnn.save("model.npz")
    Path("x.jsonl").write_text('{"text": "abca"}\n{"text": [0, 1, 2, 0]}\n{"text": ""}\n', encoding="utf-8")
    found = objects(run("run", "model.npz", "x.jsonl", "--predictions").out)
    spelled = "".join("abc"[index] for index in rnn.predict("abca"))
    assert found == [
        {"line": 1, "predictions": spelled},
        {"line": 2, "predictions": spelled},
        {"line": 3, "predictions": ""},
    ]


def test_what_is_no_number_is_null_in_json(run: Run) -> None:
    model()
    Path("x.jsonl").write_text('{"x": [[NaN, 2]]}\n')
    assert objects(run("run", "model.npz", "x.jsonl", "--output", "-").out)[0]["probabilities"] == [[None] * 3]


# Arrays in, tables out


def test_arrays_become_tables(run: Run) -> None:
    rnn, x = model(), np.random.default_rng(0).normal(size=(4, 3, 2))
    np.savez("x.npz", x=x, lengths=[4, 0, 2])
    p = rnn.probabilities(x, lengths=[4, 0, 2])
    found = objects(run("run", "model.npz", "x.npz", "--to", "jsonl").out)
    assert [each["sequence"] for each in found] == [0, 1, 2]
    for index, length in enumerate([4, 0, 2]):
        np.testing.assert_allclose(np.reshape(found[index]["probabilities"], (-1, 3)), p[:length, index], rtol=1e-6)
    text = run("run", "model.npz", "x.npz", "--predictions", "--quiet").out
    ids = rnn.predict(x, lengths=[4, 0, 2])
    assert text == "".join(" ".join(map(str, ids[:n, b])) + "\n" for b, n in enumerate([4, 0, 2]))
    np.save("x.npy", x[:, 0])
    rows = read_csv(run("run", "model.npz", "x.npy", "--predictions", "--to", "csv").out)
    assert rows == [{"step": str(k), "prediction": str(int(each))} for k, each in enumerate(rnn.predict(x[:, 0]))]
    result = run("run", "model.npz", "x.npy", "--reads", "last", "--output", "y.jsonl", "--predictions")
    assert objects(Path("y.jsonl").read_text()) == [{"prediction": int(rnn.predict(x[:, 0], reads="last"))}]
    assert result.rows["output"].strip() == "y.jsonl: predictions, 1 object"
