"""The command `run` on Parquet, and its results in it."""

import io
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from tables import LENGTHS, features, loss_in, model, objects, write_csv
from terminal import PROGRAM, Terminal

import rnn_backends as rb
from rnn_backends.cli.running import parquet, parquet_output
from rnn_backends.cli.running.array_outputs import Part, Shape
from rnn_backends.cli.running.names import Names

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

WORDS = ("run", "model.npz", "x.parquet")


def write(columns: Any, path: str = "x.parquet", **options: Any) -> None:
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)


def read(path: str = "y.parquet") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def steps() -> dict[str, list[Any]]:
    """A row for each step."""
    rows = [(name, *row) for name, x in features().items() for row in x.tolist()]
    return dict(zip(("id", "left", "right"), map(list, zip(*rows, strict=True)), strict=True))


LAYOUTS: Mapping[str, Callable[[], Any]] = {
    "steps": steps,
    "steps of float32": lambda: pa.table(steps()).cast(
        pa.schema([("id", pa.string()), ("left", pa.float32()), ("right", pa.float32())])
    ),
    "ids that are categories": lambda: pa.table(steps()).set_column(
        0, "id", pa.array(steps()["id"]).dictionary_encode()
    ),
    "lists of steps": lambda: {"id": [*LENGTHS], "x": [x.tolist() for x in features().values()]},
    "lists of arrays of two": lambda: {
        "id": [*LENGTHS],
        "x": pa.array([x.tolist() for x in features().values()], pa.list_(pa.list_(pa.float32(), 2))),
    },
    "large lists": lambda: {
        "id": [*LENGTHS],
        "x": pa.array([x.tolist() for x in features().values()], pa.large_list(pa.large_list(pa.float64()))),
    },
    "lists side by side": lambda: {
        "id": [*LENGTHS],
        "left": [x[:, 0].tolist() for x in features().values()],
        "right": [x[:, 1].tolist() for x in features().values()],
    },
}


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sequences_of_each_layout(run: Run, monkeypatch: pytest.MonkeyPatch, layout: str, rows: int) -> None:
    rnn = model(metadata={"classes": "x y z"})
    write(LAYOUTS[layout](), row_group_size=2)
    monkeypatch.setattr(parquet, "MOST", rows)
    x = ("--x", "x") if "x" in pq.read_schema("x.parquet").names else ("--x", "left,right")
    result = run(*WORDS, "--id", "id", *x, "--output", "y.parquet")
    assert (result.code, result.err) == (0, "")
    assert result.rows["output"].strip() == "y.parquet: probabilities, 3 rows"
    found = read()
    assert [each["id"] for each in found] == [*LENGTHS]
    for each, sequence in zip(found, features().values(), strict=True):
        np.testing.assert_allclose(each["probabilities"], rnn.probabilities(sequence), rtol=0, atol=1e-6)
    assert objects(run(*WORDS, "--id", "id", *x, "--predictions").out) == [
        {"id": name, "predictions": ["xyz"[k] for k in rnn.predict(sequence)]} for name, sequence in features().items()
    ]


@pytest.mark.parametrize("reads", ["steps", "last"])
@pytest.mark.parametrize("words", [(), ("--predictions",)])
@pytest.mark.parametrize("options", [{}, {"metadata": {"classes": "x y z"}}, {"readout": None}])
def test_rows_hold_what_objects_of_json_hold(
    run: Run, reads: str, words: tuple[str, ...], options: dict[str, Any]
) -> None:
    if words and "readout" in options:
        pytest.skip("hidden states are no predictions")
    for dtype in ("float32", "float64", "float16"):
        model(reads=reads, **options).to(dtype=dtype).save("model.npz")
        write_csv()
        command = ("run", "model.npz", "x.csv", "--id", "id", *words, "--output")
        assert run(*command, "y.jsonl").code == 0
        assert run(*command, "y.parquet").code == 0
        wanted = objects(Path("y.jsonl").read_text())
        found = read()
        assert [[*each] for each in found] == [[*each] for each in wanted]
        for one, other in zip(found, wanted, strict=True):
            assert one.pop("id") == other.pop("id")
            ((key, value),) = one.items()
            if words:
                assert value == other[key]
            else:
                kind = np.dtype("f4" if dtype == "float32" else dtype)
                np.testing.assert_array_equal(np.array(value, kind), np.array(other[key], kind))
                numbers = pq.read_schema("y.parquet").field(key).type
                while pa.types.is_list(numbers):
                    numbers = numbers.value_type
                assert numbers == (pa.float64() if dtype == "float64" else pa.float32())


def test_texts_and_token_ids(run: Run) -> None:
    drawn = rb.RNN.init(3, 5, output_size=3, seed=1)
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary="abc")
    rnn.save("model.npz")
    spelled = "".join("abc"[index] for index in rnn.predict("abca"))
    wanted = [{"row": 1, "predictions": spelled}, {"row": 2, "predictions": ""}]
    for column in (["abca", ""], pa.array(["abca", ""]).dictionary_encode(), [[0, 1, 2, 0], []]):
        write({"nr": [7, 8], "text": column})
        assert run(*WORDS, "--predictions", "--output", "y.parquet").code == 0
        assert read() == wanted
    write({"text": ["ab", None]})
    assert "x in row 2 must be a text, or a list of token ids; got None." in run(*WORDS).err
    rb.RNN(drawn.layers, drawn.readout, takes="tokens").save("model.npz")
    for kind in (pa.int8(), pa.uint16(), pa.int64()):
        write({"x": pa.array([[0, 1, 2, 0], [], [1]], pa.list_(kind))})
        assert run(*WORDS, "--predictions", "--output", "y.parquet").code == 0
        assert read()[0] == {"row": 1, "predictions": rnn.predict("abca").tolist()}
        assert read()[1] == {"row": 2, "predictions": []}


def test_targets(run: Run) -> None:
    rnn = model(metadata={"classes": "x y z"})
    losses = [float(rnn.loss(x, [0] * len(x))) * len(x) for x in features().values()]
    for classes in (["x"] * 4, [0] * 4, np.zeros(4, np.int32)):
        write({"x": [x.tolist() for x in features().values()], "y": [classes[:length] for length in LENGTHS.values()]})
        result = run(*WORDS, "--targets", "y", "--x", "x")
        assert loss_in(result.out) == pytest.approx(sum(losses) / 8, abs=2e-6)
    write({**steps(), "y": [0] * 8})
    result = run(*WORDS, "--targets", "y", "--id", "id")
    assert loss_in(result.out) == pytest.approx(sum(losses) / 8, abs=2e-6)


def test_a_text_of_lines_and_arrays(run: Run) -> None:
    drawn = rb.RNN.init(3, 5, output_size=3, seed=1)
    rb.RNN(drawn.layers, drawn.readout, vocabulary="abc").save("text.npz")
    Path("x.txt").write_text("abca\nb\n")
    result = run("run", "text.npz", "x.txt", "--output", "y.parquet")
    assert "Parquet holds a row for each sequence, and a text is one; give --lines, or write" in result.err
    assert run("run", "text.npz", "x.txt", "--lines", "--output", "y.parquet", "--predictions").code == 0
    assert [(each["line"], len(each["predictions"])) for each in read()] == [(1, 3), (2, 0)]
    rnn, x = model(), np.random.default_rng(0).normal(size=(4, 3, 2)).astype("f4")
    np.savez("x.npz", x=x, lengths=[4, 0, 2])
    assert run("run", "model.npz", "x.npz", "--output", "y.parquet", "--predictions").code == 0
    ids = rnn.predict(x, lengths=[4, 0, 2])
    wanted = [ids[:length, b].tolist() for b, length in enumerate([4, 0, 2])]
    assert read() == [{"sequence": b, "predictions": each} for b, each in enumerate(wanted)]
    np.save("x.npy", x[:, 0])
    assert run("run", "model.npz", "x.npy", "--output", "y.parquet").code == 0
    (row,) = read()
    np.testing.assert_allclose(row["probabilities"], rnn.probabilities(x[:, 0]), rtol=0, atol=1e-6)
    np.save("x.npy", x[:, :0])
    assert run("run", "model.npz", "x.npy", "--output", "y.parquet").code == 0
    assert pq.read_schema("y.parquet").names == ["sequence", "probabilities"]
    assert read() == []


@pytest.mark.parametrize(("classes", "wanted"), [("x y z", ["y", None, "x"]), ("", [1, None, 0])])
def test_a_step_that_is_left_out_is_null(run: Run, classes: str, wanted: list[Any]) -> None:
    names = Names(model(metadata={"classes": classes}).placed)
    with Path("y.parquet").open("w+b") as file:
        output = parquet_output.ParquetOutput(file, Shape("predictions", "id", has_steps=True, names=names))
        output.write(Part("a", 0, np.array([1, -1, 0])))
        output.close()
    assert read() == [{"id": "a", "predictions": wanted}]


def test_what_is_no_number_stays(run: Run) -> None:
    model()
    write({"x": [[[float("nan"), 2.0]]]})
    assert run(*WORDS, "--output", "y.parquet").code == 0
    assert np.isnan(read()[0]["probabilities"]).all()


@pytest.mark.parametrize(
    ("columns", "words", "message"),
    [
        ({"a": [1.0, None], "b": [2.0, 2.0]}, (), "column 'b' must hold numbers; got None in row 2"),
        ({"x": [[[1.0, 2.0]], [[3.0, None]]]}, (), "x in row 2 must be a list of steps with 2 numbers each; got a list of 1."),
        ({"x": [[[1.0, 2.0]], None]}, (), "x in row 2 must be a list of steps with 2 numbers each; got None."),
        ({"x": [[[1.0, 2.0], [3.0]]]}, (), "x in row 1 must be a list of"),
        ({"x": [[0, 1], [0, None]]}, (), "x in row 2 must be a list of token ids; got a list of 2."),
        ({"x": [[0, 1], [2]]}, (), "each token id must be in 0..1; got 2 in row 2."),
        ({"x": [{"a": 1}]}, (), "column 'x' must hold numbers; got dict in row 1"),
        ({"a": [1.0], "b": [2.0]}, ("--id", "c"), "there is no column 'c'; there are 'a', 'b'."),
        ({"a": [1.0], "b": [2.0]}, ("--x", "a,d"), "there is no column 'd'"),
        ({"a": [1.0], "b": [2.0], "i": [None]}, ("--id", "i"), "the id in row 1 must be text or an integer; got None."),
        ({"a": [1.0] * 3, "b": [2.0] * 3, "i": [0, 1, 0]}, ("--id", "i"), "sequence 0 are not together: it begins again in row 3"),
        ({"x": [[[1.0, 2.0]]], "t": [[0, 1]]}, ("--targets", "t"), "the targets in row 1 must be a list of 1 classes, one for each step; got a list of 2."),
        ({"x": [[[1.0, 2.0]]], "t": [[7]]}, ("--targets", "t"), "row 1 has the target 7, which is no id"),
        ({"x": [[[1.0, 2.0]]], "probabilities": [1]}, ("--x", "x", "--id", "probabilities"), "the ids are called 'probabilities', as a column"),
        (pa.table([[1.0], [2.0]], ["a", "a"]), (), "the schema must name each column once; got 'a', 'a'."),
        ({"a": pa.array([], pa.float64())}, (), "a table must have at least one row"),
        (pa.table({}), (), "the text must be in one column, and there are none"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_read(run: Run, columns: Any, words: tuple[str, ...], message: str) -> None:
    model()
    write(columns)
    code, out, err = run(*WORDS, *words, "--output", "y.parquet")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert message.replace("column 'b' must", "column 'a' must") in err
    assert not Path("y.parquet").exists()


def test_files_that_are_damaged(run: Run) -> None:
    model()
    write(steps())
    whole = Path("x.parquet").read_bytes()
    damaged = [b"", b"PAR1", b"id,a\n1,2\n", whole[:-1], whole[: len(whole) // 2], whole[:-8] + b"\xff\xff\xff\x7fPAR1"]
    damaged += [whole[:place] + bytes(40) + whole[place + 40 :] for place in range(4, len(whole) - 50, 97)]
    for content in damaged:
        Path("x.parquet").write_bytes(content)
        result = run(*WORDS, "--id", "id", "--output", "y.parquet")
        assert result.code in {0, 1}
        assert len(result.err.splitlines()) == result.code
        assert "Traceback" not in result.err
        assert result.code == 0 or "x.parquet: " in result.err or "sequence" in result.err, result.err
    Path("x.txt").write_bytes(whole)
    drawn = rb.RNN.init(3, 5, output_size=3, seed=1)
    rb.RNN(drawn.layers, drawn.readout, vocabulary="abc").save("text.npz")
    assert (
        "it is no text, but a file of the format parquet; give --from parquet." in run("run", "text.npz", "x.txt").err
    )


def test_ids_of_two_types(run: Run) -> None:
    model()
    for ids, kind in ((("a", 1), "text"), ((1, "a"), "integers of 64 bits"), ((1, 2**70), "integers of 64 bits")):
        Path("x.jsonl").write_text("".join(json.dumps({"x": [[1, 2]], "i": each}) + "\n" for each in ids))
        result = run("run", "model.npz", "x.jsonl", "--id", "i", "--x", "x", "--output", "y.parquet")
        assert (result.code, result.out) == (1, "")
        assert f"the ids 'i' are not all {kind}, as the first one is" in result.err
        assert not Path("y.parquet").exists()


def test_stdin_and_stdout(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model()
    write(steps())
    assert run(*WORDS, "--id", "id", "--output", "y.parquet").code == 0
    command = [*PROGRAM, "run", "model.npz", "-", "--id", "id", "--output", "-", "--to", "parquet", "--quiet"]
    piped = subprocess.run(command, input=Path("x.parquet").read_bytes(), capture_output=True, check=True)
    assert (piped.stdout, piped.stderr) == (Path("y.parquet").read_bytes(), b"")
    with Terminal(*WORDS, "--id", "id", "--output", "-", "--to", "parquet", cwd=Path()) as terminal:
        assert terminal.finish() == 2
        assert "the .parquet format is nothing for a terminal; give --output FILE" in terminal.shown
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"PAR1"))))
    assert "it is no Parquet, or is damaged" in run("run", "model.npz", "-", "--output", "z.csv").err


# Groups of rows


def test_groups_of_rows_do_not_depend_on_how_rows_come(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model()
    count = 3000
    draw = np.random.default_rng(0)
    write({"x": [draw.normal(size=(length, 2)).tolist() for length in draw.integers(0, 9, count)]})
    monkeypatch.setattr(parquet_output, "GROUP", 20_000)
    made = []
    for rows in (1, 700, 10_000):
        monkeypatch.setattr(parquet, "MOST", rows)
        assert run(*WORDS, "--predictions", "--output", "y.parquet").code == 0
        made.append(Path("y.parquet").read_bytes())
    metadata = pq.read_metadata("y.parquet")
    assert metadata.num_rows == count
    assert 10 < metadata.num_row_groups < 30
    assert [each["row"] for each in read()] == [*range(1, count + 1)]
    assert made[0] == made[1] == made[2]


@pytest.mark.skipif(sys.platform != "linux", reason="where the system says it")
def test_memory_does_not_grow_with_the_file(run: Run) -> None:
    """However few and large its groups of rows are."""
    drawn = rb.RNN.init(1, 5, output_size=3, seed=1)
    rb.RNN(drawn.layers, drawn.readout, reads="last").save("model.npz")
    code = """
import re, sys
from pathlib import Path
from rnn_backends.cli.main import main
assert main(sys.argv[1:]) == 0
print(re.search(r"VmHWM:[^0-9]*([0-9]+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""
    found = []
    for millions in (0.5, 8):
        lengths = np.full(int(millions * 1e3), 1000)
        values = np.random.default_rng(0).random(lengths.sum())
        lists = pa.LargeListArray.from_arrays(np.concatenate([[0], np.cumsum(lengths)]), values)
        write({"x": lists}, row_group_size=len(lengths))
        del values, lists
        command = [sys.executable, "-c", code, *WORDS, "--predictions", "--output", "y.parquet", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(int(done.stderr) / 1024)
    assert pq.read_metadata("x.parquet").num_row_groups == 1
    assert found[1] - found[0] < 40, "MiB; the numbers alone are 64"


# Many files


def test_many_files(run: Run) -> None:
    rnn = model(reads="last")
    Path("c").mkdir()
    for index in range(4):
        write({"x": [(x + index).tolist() for x in features().values()]}, f"c/{index}.parquet")
    found = []
    for jobs in (1, 2):
        out = f"out{jobs}"
        words = ("run", "model.npz", "c/*.parquet", "--predictions", "--output-dir", out, "--jobs", jobs, "--json")
        for made in (4, 0):
            assert json.loads(run(*words).out)["made"] == made
        found.append({each.name: each.read_bytes() for each in Path(out).iterdir()})
    assert found[0] == found[1]
    assert [*json.loads(found[0].pop("manifest.json"))["files"]] == sorted(found[0])
    for index in range(4):
        wanted = [int(rnn.predict(x + index)) for x in features().values()]
        assert read(f"out1/{index}.parquet.parquet") == [
            {"row": row, "prediction": each} for row, each in enumerate(wanted, 1)
        ]


def test_the_version_of_pyarrow_counts_for_parquet_alone(run: Run) -> None:
    model(reads="last")
    write({"x": [x.tolist() for x in features().values()]})
    Path("y.jsonl").write_text('{"x": [[1, 2]]}\n')
    words = ("run", "model.npz", "x.parquet", "y.jsonl", "--predictions", "--output-dir", "out", "--json")
    assert run(*words).code == 0
    manifest = Path("out", "manifest.json")
    text = manifest.read_text()
    versions = {name: each["versions"] for name, each in json.loads(text)["settings"].items()}
    assert sorted(len(each) for each in versions.values()) == [2, 3]
    assert {"pyarrow": pa.__version__}.items() <= max(versions.values(), key=len).items()


def test_a_disk_that_is_full(run: Run) -> None:
    model()
    draw = np.random.default_rng(0)
    write({"x": [draw.normal(size=(50, 2)).tolist() for _ in range(200)]})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = subprocess.run(
        [*PROGRAM, *WORDS, "--output", "y.parquet", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    assert done.returncode == 1
    assert done.stderr == "rnn-backends: error: 'y.parquet' cannot be written: File too large.\n"
    assert [each.name for each in Path().iterdir() if "parquet" in each.name] == ["x.parquet"]
