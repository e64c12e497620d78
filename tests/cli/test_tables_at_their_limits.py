"""The command `run` on tables that are wrong, long, or come slowly."""

import csv
import json
import select
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from tables import features, loss_in, model, objects, read_csv, write_csv
from terminal import PROGRAM

import rnn_backends as rb


@pytest.mark.parametrize(
    ("name", "content", "words", "message"),
    [
        ("x.csv", "", [], "a table must have at least one row beside the names of its columns"),
        ("x.csv", "a,b\n", [], "a table must have at least one row beside the names of its columns"),
        ("x.csv", "a;b\n1;2\n", [], "x.csv: the columns of the first line seem to be separated by ';'; write commas."),
        ("x.csv", "a\tb\n1\t2\n", [], "x.csv: the columns of the first line seem to be separated by '\\t'; give --from tsv."),
        ("x.tsv", "a,b\n1,2\n", [], "x.tsv: the columns of the first line seem to be separated by ','; give --from csv."),
        ("x.csv", "a,b\r1,2\r", [], "x.csv: line 1 is no row of CSV: new-line character seen in unquoted field."),
        ("x.csv", "a,b\n1,2\n", ["--id", "a", "--x", "a,b"], "column 'a' is named twice"),
        ("x.csv", "a,b\n1,2\n", ["--targets", "b", "--x", "a,b"], "column 'b' is named twice"),
        ("x.csv", "step,a,b\n1,1,2\n", ["--id", "step"], "the ids are called 'step', as a column of the output is"),
        ("x.csv", "a,a\n1,2\n", [], "x.csv: the first line must name each column once; got 'a', 'a'."),
        ("x.csv", "-5e-1,2\n1,2\n", [], "x.csv: the first line must name the columns, and has numbers, '-5e-1', '2'; put a "),
        ("x.csv", "a,b\n1\n", [], "x.csv: line 2 has 1 values for the 2 columns of the first line."),
        ("x.csv", 'a,b\n"1,2\n', [], "x.csv: line 2 is no row of CSV: unexpected end of data."),
        ("x.csv", "a,b\n1,x\n", [], "x.csv: column 'b' must hold numbers; got 'x' in line 2; leave it out by --x or --id."),
        ("x.csv", "a,b,c\n1,2,3\n", [], "the model takes 2 features, and there are 3 columns of them, 'a', 'b', 'c'"),
        ("x.csv", "a,b\n1,2\n", ["--id", "c"], "x.csv: there is no column 'c'; there are 'a', 'b'."),
        ("x.csv", "a,b\n1,2\n", ["--x", "a,d"], "x.csv: there is no column 'd'"),
        ("x.csv", "a,b,i\n1,2,0\n1,2,1\n1,2,0\n", ["--id", "i"], "sequence '0' are not together: it begins again in line 4"),
        ("x.csv", "a,b,t\n1,2,q\n", ["--targets", "t"], "line 2 has the target 'q', which is no id and none of the classes"),
        ("x.csv", "a,b,t\n1,2,9\n", ["--targets", "t"], "line 2 has the target '9', which is no id"),
        ("x.jsonl", "", [], "a table must have at least one row"),
        ("x.jsonl", '{"x": [[1, 2]]}\n{"x"', [], "x.jsonl: line 2 is no JSON: "),
        ("x.jsonl", "[" * 100_000, [], "x.jsonl: line 1 is no JSON: "),
        ("x.jsonl", "[1]", [], 'x.jsonl: line 1 must be a JSON object, as {"x": [...]}; got list.'),
        ("x.jsonl", '{"x": [[1, 2]]}\n{"y": 1}', [], "x.jsonl: line 2 has no 'x', which the first one has."),
        ("x.jsonl", '{"x": [[1, 2], [3]]}', [], "x in line 1 must be a list of"),
        ("x.jsonl", '{"x": [[1, 2, 3]]}', [], "x in line 1 must be a list of"),
        ("x.jsonl", '{"x": [[1, 2]]}\n{"x": [0, 1]}', [], "x in line 2 must be a list of steps with 2 numbers each; got a list of 2."),
        ("x.jsonl", '{"x": [0, 1]}\n{"x": [[1, 2]]}', [], "x in line 2 must be a list of token ids; got a list of 1."),
        ("x.jsonl", '{"x": [0, 1]}\n{"x": [1, 2]}', [], "x.jsonl: each token id must be in 0..1; got 2 in line 2."),
        ("x.jsonl", '{"x": [1.5, 2]}', [], "x in line 1 must be a list of"),
        ("x.jsonl", '{"x": [[1, 2]], "i": true}', ["--id", "i"], "the id in line 1 must be text or an integer; got True."),
        ("x.jsonl", '{"x": ["a"]}', [], "x in line 1 must be a list of"),
        ("x.jsonl", '{"x": [[1, 2]], "i": null}', ["--id", "i"], "the id in line 1 must be text or an integer; got None."),
        ("x.jsonl", '{"a": [1], "b": [1, 2]}', ["--x", "a,b"], "'a', 'b' in line 1 must be lists of one length."),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_read(run: Run, name: str, content: str, words: list[str], message: str) -> None:
    model()
    Path(name).write_text(content)
    code, out, err = run("run", "model.npz", name, *words, "--output", "y.csv")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert message in err
    assert not Path("y.csv").exists()


def test_a_text_is_one_sequence_without_lines(run: Run) -> None:
    drawn = rb.RNN.init(3, 5, output_size=3, seed=1)
    rb.RNN(drawn.layers, drawn.readout, vocabulary="abc").save("model.npz")
    Path("x.txt").write_text("abca")
    result = run("run", "model.npz", "x.txt", "--to", "jsonl")
    assert result.code == 1
    assert "JSON Lines hold an object for each sequence, and a text is one; give --lines, or write" in result.err
    assert run("run", "model.npz", "x.txt", "--to", "jsonl", "--lines").code == 0
    Path("x.csv").write_text("a,b\nab,c\n")
    err = run("run", "model.npz", "x.csv").err
    assert "the text must be in one column, and there are 'a', 'b'; name it by --x, and the id's by --id." in err


@pytest.mark.parametrize(
    ("reads", "targets", "wanted"),
    [
        (
            "steps",
            [[2, 2, 2], [2]],
            "the targets in line 2 must be a list of 3 classes, one for each step; got a list of 1.",
        ),
        ("steps", [[2, 2, 2], [2, 2, 2, 2]], "the targets in line 2 must be a list of 3 classes"),
        ("steps", [[2, 2, 2], 2], "the targets in line 2 must be a list of 3 classes"),
        ("last", [2, [2, 2, 2]], "the targets in line 2 must be one class; got a list of 3."),
        ("steps", [[2, 2, 2], [2, 3, 2]], "line 2 has the target 3, which is no id"),
        ("last", [2, True], "line 2 has the target True, which is no id"),
        ("last", [2, 10**30], "line 2 has the target 1000000"),
    ],
)
def test_targets_that_do_not_fit_their_line(run: Run, reads: str, targets: list[Any], wanted: str) -> None:
    model(reads=reads)
    rows = [{"x": [[1, 2], [3, 4], [5, 6]], "t": each} for each in targets]
    Path("x.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    result = run("run", "model.npz", "x.jsonl", "--x", "x", "--targets", "t")
    assert result.code == 1
    assert f"x.jsonl: {wanted}" in result.err


@pytest.mark.parametrize("target", [1, "b", "1"])
def test_targets_of_characters_by_id_and_by_name(run: Run, target: Any) -> None:
    drawn = rb.RNN.init(3, 5, output_size=3, seed=1)
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary="abc", reads="last")
    rnn.save("model.npz")
    line = json.dumps({"text": "cab", "t": target})
    Path("x.jsonl").write_text(f"{line}\n")
    result = run("run", "model.npz", "x.jsonl", "--targets", "t")
    assert loss_in(result.out) == pytest.approx(float(rnn.loss("cab", np.array(1))), abs=2e-6)
    Path("x.jsonl").write_text('{"text": "cab", "t": "ab"}\n')
    assert (
        "line 1 has the target 'ab', which is no id and none of the classes"
        in run("run", "model.npz", "x.jsonl", "--targets", "t").err
    )


def test_a_row_without_steps_among_rows_of_features(run: Run) -> None:
    rnn = model()  # which takes ids as well: nobody said
    Path("x.jsonl").write_text('{"x": []}\n{"x": [[1, 2]]}\n')
    first, second = objects(run("run", "model.npz", "x.jsonl", "--to", "jsonl").out)
    assert first == {"line": 1, "probabilities": []}
    np.testing.assert_allclose(second["probabilities"], rnn.probabilities(np.array([[1.0, 2.0]])), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", ["nan", "inf", "1e300", "-1e300", "0.5"])
def test_numbers_in_a_table_that_are_no_token_ids(run: Run, value: str) -> None:
    rb.RNN.init(3, 5, output_size=3).save("model.npz")
    Path("x.csv").write_text(f"x\n1\n{value}\n")
    assert "must be integers; those from line 2 on are not" in run("run", "model.npz", "x.csv", "--takes", "tokens").err


def test_an_integer_in_json_that_no_float_can_hold(run: Run) -> None:
    model()
    Path("x.jsonl").write_text(f'{{"a": 1{"0" * 400}, "b": 2}}\n')
    assert "x.jsonl: column 'a' must hold numbers" in run("run", "model.npz", "x.jsonl").err


def test_a_loss_that_is_no_number_is_null_in_json(run: Run) -> None:
    drawn = rb.RNN.init(3, 5, seed=1)
    readout = rb.Linear(np.full((3, 5), np.nan, "f4"))
    rb.RNN(drawn.layers, readout, vocabulary="abc").save("model.npz")
    Path("x.txt").write_text("abc")
    facts = json.loads(run("run", "model.npz", "x.txt", "--json").out, parse_constant=pytest.fail)
    assert (facts["cross_entropy"], facts["bits_per_character"]) == (None, None)


def test_one_sequence_of_a_table_is_an_array_of_its_steps(run: Run) -> None:
    rnn = model()
    write_csv()
    words = ["run", "model.npz", "x.csv", "--x", "left,right"]
    assert run(*words, "--output", "y.npy").code == 0
    wanted = rnn.probabilities(np.concatenate(list(features().values())))
    np.testing.assert_allclose(np.load("y.npy"), wanted, rtol=0, atol=1e-6)
    rows = read_csv(run(*words, "--predictions").out)
    assert rows == [{"step": str(step), "prediction": str(each)} for step, each in enumerate(wanted.argmax(axis=-1))]


def test_a_table_is_answered_as_it_comes(tmp_path: Path) -> None:
    rb.RNN.init(2, 5, output_size=3, seed=1).save(tmp_path / "model.npz")
    command = [*PROGRAM, "run", "model.npz", "-", "--from", "csv", "--id", "id", "--output", "-", "--quiet"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=-1, stdout=-1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"id,a,b\n1,1,2\n2,3,4\n")
        process.stdin.flush()
        is_answered = bool(select.select([process.stdout], [], [], 30)[0])
        process.stdin.close()
        assert is_answered, "rows wait for the end"
        head, first, second = process.stdout.read().decode().splitlines()
        assert (head, first[:6], second[:6]) == ("id,step,p0,p1,p2", "1,0,0.", "2,0,0.")
        assert process.wait(60) == 0


def test_a_long_text_in_a_table(run: Run) -> None:
    drawn = rb.RNN.init(3, 5, output_size=2, seed=1)
    rnn = rb.RNN(drawn.layers, drawn.readout, reads="last", vocabulary="ab ")
    rnn.save("model.npz")
    before = csv.field_size_limit()
    Path("x.csv").write_text(f"text\n{'ab ' * 100_000}\n")
    assert read_csv(run("run", "model.npz", "x.csv", "--predictions").out)[0]["line"] == "2"
    assert csv.field_size_limit() == before
    Path("x.csv").write_text("text\nabc\n")
    result = run("run", "model.npz", "x.csv")
    assert "x.csv: the character 'c' at place 3 of the text in line 2 is not in the model's vocabulary" in result.err
    Path("x.jsonl").write_text('{"text": "ab"}\n{"text": null}\n')
    assert "x in line 2 must be a text, or a list of token ids; got None." in run("run", "model.npz", "x.jsonl").err


def test_targets_as_text(run: Run) -> None:
    drawn = rb.RNN.init(3, 5, output_size=3, seed=1)
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary="abc")
    rnn.save("model.npz")
    Path("x.jsonl").write_text('{"text": "abca", "next": "bcab"}\n')
    value = run("run", "model.npz", "x.jsonl", "--targets", "next").rows["cross-entropy"].split()[0]
    assert float(value) == pytest.approx(float(rnn.loss("abca", "bcab")), abs=2e-6)


@pytest.mark.parametrize(
    "words",
    [
        ("x.parquet",),
        ("x.csv", "--output", "y.parquet"),
        ("x.csv", "--to", "parquet", "--output", "-"),
        ("*.parquet", "x.csv", "--output-dir", "out"),
    ],
)
def test_parquet_without_pyarrow(run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """Before anything is read, and of many inputs once."""
    model()
    write_csv()
    for name in "xy":
        Path(f"{name}.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("run", "model.npz", *words, "--x", "left,right")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "rnn-backends: error: Parquet needs the package 'pyarrow', which is not installed; install it: pip install "
        "'rnn-backends[parquet]'.\n"
    )
    assert not Path("out").exists()


def test_a_table_of_one_sequence_takes_little_memory(run: Run) -> None:
    model()
    rows = 50_000
    Path("x.csv").write_text("some,other\n" + "0.12345678,0.12345678\n" * rows)
    run("run", "model.npz", "x.csv", "--output", "y.csv")  # what is imported at first is not counted
    tracemalloc.start()
    try:
        assert run("run", "model.npz", "x.csv", "--output", "y.csv").code == 0
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20 + 250 * rows
    finally:
        tracemalloc.stop()
