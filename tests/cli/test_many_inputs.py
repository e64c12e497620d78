"""Many inputs at once: an output for each in a folder, made by several processes, and what was made is kept."""

import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from terminal import PROGRAM

import rnn_backends as rb
from rnn_backends.cli import progress
from rnn_backends.cli.parser import parse
from rnn_backends.cli.shards import crew, request
from rnn_backends.cli.shards.inputs import Word, inputs_of, require_apart, require_outside
from rnn_backends.cli.shards.manifest import NAME
from rnn_backends.cli.shards.worker import Task, Worker

LETTERS = "abcd "
OUT = ("--output-dir", "out")
ALONE = {"RNN_NUM_THREADS": "1"}


def save(name: str = "model.npz", **options: Any) -> None:
    drawn = rb.RNN.init(len(LETTERS), 7, output_size=len(LETTERS), seed=options.pop("seed", 1))
    rb.RNN(drawn.layers, drawn.readout, vocabulary=LETTERS, **options).save(name)


def write(*names: str, length: int = 300) -> None:
    """Write texts, each longer than the one before."""
    for index, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(index)
        Path(name).write_text("".join(draw.choice([*LETTERS], length * (index + 1))))


def held(folder: str = "out") -> dict[str, bytes]:
    """The files of a folder, by their names in it."""
    files = (each for each in Path(folder).rglob("*") if each.is_file())
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in files}


def manifest(folder: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, NAME).read_text())
    return found


def inodes() -> dict[str, int]:
    """Those of the outputs, which a new file does not share."""
    return {name: Path("out", name).stat().st_ino for name in held() if name != NAME}


KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # the model and the options, by the suffix of the input
    ".txt": ("model.npz", ("--to", "csv")),
    ".text": ("model.npz", ("--predictions",)),
    ".csv": ("plain.npz", ("--id", "id", "--x", "a,b", "--targets", "t")),
    ".tsv": ("plain.npz", ("--id", "id", "--x", "a,b", "--predictions")),
    ".jsonl": ("plain.npz", ("--x", "x", "--reads", "last")),
    ".npy": ("plain.npz", ()),
    ".npz": ("plain.npz", ("--reads", "mean")),
}


@pytest.fixture
def kinds(run: Run) -> None:
    """Two inputs of each kind, in the working directory."""
    save()
    rb.RNN.init(2, 5, output_size=3, seed=2).save("plain.npz")
    for index in range(2):
        write(f"{index}.txt", f"{index}.text")
        table = ["id,a,b,t", *(f"{row // 3},{row + index},{row * 0.5},{row % 3}" for row in range(9))]
        Path(f"{index}.csv").write_text("\n".join(table))
        Path(f"{index}.tsv").write_text("\n".join(table).replace(",", "\t"))
        Path(f"{index}.jsonl").write_text('{"x": [[1, 2], [3, 4]]}\n{"x": [[0.5, 1]]}\n' * (index + 1))
        x = np.random.default_rng(index).normal(size=(6, 3, 2)).astype(np.float32)
        np.save(f"{index}.npy", x)
        Path("inputs").mkdir(exist_ok=True)
        np.savez(Path("inputs", f"{index}.npz"), x=x, lengths=[6, 2, 4])


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.usefixtures("kinds")
def test_each_output_is_that_of_its_input_alone(run: Run, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    model, options = KINDS[suffix]
    place = "inputs/" if suffix == ".npz" else ""
    assert run("run", model, f"{place}*{suffix}", *OUT, "--jobs", 2, *options).code == 0
    monkeypatch.setenv(*next(iter(ALONE.items())))
    assert len(held()) == 3
    for index in range(2):
        (name,) = (each for each in held() if each.startswith(f"{index}{suffix}."))
        alone = f"alone{Path(name).suffix}"
        report = json.loads(run("run", model, f"{place}{index}{suffix}", *options, "--output", alone, "--json").out)
        assert held()[name] == Path(alone).read_bytes()
        entry = manifest()["files"][name]
        assert (entry["sequences"], entry["steps"]) == (report["sequences"], report["steps"])
        assert entry.get("cross_entropy") == report["cross_entropy"]


def test_the_names_of_inputs_and_outputs(run: Run) -> None:
    save()
    write("c/b.txt", "c/a.txt", "c/sub/deep/a.txt", "c/.hidden.txt", "c/sub/[a].txt", "other/a.txt", "c/a.md")
    assert run("run", "model.npz", "c/**/*.txt", "c/a.md", "--predictions", *OUT).code == 0
    wanted = {f"{name}.txt" for name in ("a.txt", "b.txt", "sub/deep/a.txt", "sub/[a].txt", "a.md")}
    assert {*held()} == {*wanted, NAME}
    assert list(manifest()["files"]) == sorted(wanted)
    # Below the folder that all are in, each once; one that is there is no pattern; words may stand after options.
    words = ("c/sub/[a].txt", "--predictions", "--output-dir", "two", "c/sub/../*.txt", "other/a.txt", "c/a.txt")
    assert run("run", "model.npz", *words).code == 0
    assert {*held("two")} == {*(f"c/{name}.txt.txt" for name in ("a", "b", "sub/[a]")), "other/a.txt.txt", NAME}


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_names_that_are_no_text(run: Run) -> None:
    save()
    name = os.fsdecode(b"c/\xff\n.txt")
    write(name)
    for kept in (0, 1):
        report = json.loads(run("run", "model.npz", "c/*", "--predictions", *OUT, "--json").out)
        assert (report["made"], report["kept"]) == (1 - kept, kept)


def test_the_number_of_processes_changes_nothing(run: Run) -> None:
    save()
    write(*(f"c/{index}.txt" for index in range(7)))
    found = []
    for jobs in ("1", "2", "3", "auto"):
        out = f"out-{jobs}"
        assert run("run", "model.npz", "c/*.txt", "--to", "npy", "--output-dir", out, "--jobs", jobs).code == 0
        found.append(held(out))
    assert len(found[0]) == 8
    assert all(each == found[0] for each in found)


def test_each_process_has_one_thread(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is said of threads outside: sums of other lengths would round otherwise."""
    looking = """
import sys
sys.path[:] = sys.argv[1:]
from rnn_backends.backends.cpu_kernels.threads import thread_count
from rnn_backends.cli.shards.worker import work
open("threads", "a").write(f"{thread_count()} ")
work()
"""
    monkeypatch.setattr(crew, "CHILD", looking)
    monkeypatch.setenv("RNN_NUM_THREADS", "5")
    save()
    write("c/a.txt", "c/b.txt")
    assert run("run", "model.npz", "c/*.txt", "--predictions", *OUT, "--jobs", 2).code == 0
    assert {*Path("threads").read_text().split()} == {"1"}


CHANGES: Mapping[str, tuple[str, ...]] = {
    # the outputs that are made again
    "nothing": (),
    "an output is damaged": ("b.txt.csv",),
    "an output is cut short": ("b.txt.csv",),
    "an output is gone": ("b.txt.csv",),
    "an output is a folder": ("b.txt.csv",),
    "the manifest is gone": ("a.txt.csv", "b.txt.csv"),
    "an input is changed": ("a.txt.csv",),
    "the times of an input are changed": (),
    "the model is changed": ("a.txt.csv", "b.txt.csv"),
    "the model is stored otherwise": (),
    "another option": ("a.txt.csv", "b.txt.csv"),
    "the same option": (),
    "another format": ("a.txt.npy", "b.txt.npy"),
    "another input": ("c.txt.csv",),
    "an input less": (),
}


def change(what: str) -> tuple[str, ...]:
    """Make a change, and return the words of the next command."""
    words = ("run", "model.npz", "c/*.txt", "--to", "csv", *OUT)
    output, given = Path("out", "b.txt.csv"), Path("c", "a.txt")
    text, made = given.read_text(), output.read_bytes()
    if what.startswith("an output"):
        output.unlink()
    does: Mapping[str, Callable[[], object]] = {
        "an output is damaged": lambda: output.write_bytes(made[:-2] + b"9\n"),
        "an output is cut short": lambda: output.write_bytes(made[:-1]),
        "an output is a folder": output.mkdir,
        "the manifest is gone": Path("out", NAME).unlink,
        "an input is changed": lambda: given.write_text(text[::-1]),
        "the times of an input are changed": lambda: os.utime(given, (1, 1)),
        "the model is changed": lambda: save(seed=2),
        "the model is stored otherwise": lambda: rb.load("model.npz").save("other.safetensors"),
        "another input": lambda: write("c/c.txt"),
        "an input less": Path("c", "b.txt").unlink,
    }
    does.get(what, lambda: None)()
    others: Mapping[str, tuple[str, ...]] = {
        "the model is stored otherwise": ("run", "other.safetensors", *words[2:]),
        "another option": (*words[:-2], "--predictions", *OUT),
        "the same option": ("run", "model.npz", "./c/../c/*.txt", "--to=csv", "--quiet", "--backend", "numpy", *OUT),
        "another format": ("run", "model.npz", "c/*.txt", "--to", "npy", *OUT),
    }
    return others.get(what, words)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("what", CHANGES)
def test_what_is_whole_is_kept(run: Run, what: str) -> None:
    save()
    write("c/a.txt", "c/b.txt")
    assert run("run", "model.npz", "c/*.txt", "--to", "csv", *OUT).code == 0
    words, before = change(what), inodes()
    result = run(*words, "--json")
    if what == "an output is a folder":
        assert result.code == 1
        assert "b.txt.csv' cannot be written: Is a directory." in result.err
        Path("out", "b.txt.csv").rmdir()
        result = run(*words, "--json")
    assert result.code == 0
    report, after = json.loads(result.out), inodes()
    made = {name for name in after if after[name] != before.get(name)}
    assert made == {*CHANGES[what]}
    inputs = len(list(Path("c").iterdir()))
    assert (report["made"], report["kept"], report["failed"]) == (len(made), inputs - len(made), [])
    left = {"another format": ["a.txt.csv", "b.txt.csv"], "an input less": ["b.txt.csv"]}.get(what, [])
    assert report["left"] == left
    assert run(*words[:-1], "anew").code == 0
    for name, content in held("anew").items():
        assert name == NAME or held()[name] == content
    if not left:
        assert held("anew") == held()


def test_an_input_that_is_wrong_fails_alone(run: Run) -> None:
    save()
    write("c/a.txt", "c/b.txt", "c/z.txt")
    Path("c/b.txt").write_text("abxb")
    words = ("run", "model.npz", "c/*.txt", "--to", "csv", "--jobs", 2, *OUT)
    reason = "c/b.txt: the character 'x' at line 1, column 3 is not in the model's vocabulary of 5 characters."
    for made, kept in ((2, 0), (0, 2)):
        code, out, err = run(*words)
        assert code == 1
        assert f"{made} made, {kept} kept, 1 failed" in out
        last = (
            "1 of 3 inputs failed, for the reasons in 'out/manifest.json'; the same command tries them again, and no "
            "others."
        )
        assert err.splitlines() == [f"rnn-backends: {reason}", f"rnn-backends: error: {last}"]
        assert {*held()} == {"a.txt.csv", "z.txt.csv", NAME}
        assert manifest()["files"]["b.txt.csv"]["failed"] == reason
    write("c/a.txt", "c/b.txt")
    report = run(*words, "--json")
    assert (report.code, report.err) == (0, "")
    assert [json.loads(report.out)[name] for name in ("made", "kept", "failed")] == [1, 2, []]
    assert run(*words[:-1], "anew").code == 0
    assert held("anew") == held()


def test_the_report_is_of_all_that_is_whole(run: Run) -> None:
    save()
    write("c/a.txt", "c/b.txt", "c/z.txt")
    total = judged = 0.0
    for name in "abz":
        alone = json.loads(run("run", "model.npz", f"c/{name}.txt", "--json").out)
        total += alone["cross_entropy"] * alone["steps"]
        judged += alone["steps"]
    Path("c/bad.txt").write_text("x")
    for made, kept in ((3, 0), (0, 3)):
        report = json.loads(run("run", "model.npz", "c/*.txt", "--to", "csv", *OUT, "--json").out)
        assert (report["made"], report["kept"], report["inputs"], report["steps"]) == (made, kept, 4, judged)
        assert report["cross_entropy"] == pytest.approx(total / judged, rel=1e-6)
        assert report["cross_entropy"] == pytest.approx(log(5), rel=0.3)
        assert report["output_dir"] == "out"
    assert "accuracy" in run("run", "model.npz", "c/*.txt", "--to", "csv", *OUT).out


def test_progress_counts_files(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    write("c/a.txt", "c/b.txt")
    monkeypatch.setattr(progress, "PLAIN", 0.0)
    err = run("run", "model.npz", "c/*.txt", "--predictions", *OUT).err
    assert "rnn-backends: out: 50% of 2.00 files, " in err
    assert " files/s, 0:0" in err
    assert run("run", "model.npz", "c/*.txt", "--predictions", *OUT, "--quiet").err == ""


# Processes that end

ENDING = """
import os, signal, sys
sys.path[:] = sys.argv[1:]
from rnn_backends.cli.shards import worker
answer = worker.Worker.answer
def ended(self, task):
    with open("asked", "a") as file:
        print(os.path.basename(task.input), file=file)
    count = open("asked").read().splitlines().count(os.path.basename(task.input))
    if task.input.endswith("always.txt") or (task.input.endswith("once.txt") and count == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(self, task)
worker.Worker.answer = ended
worker.work()
"""


def test_processes_that_end_are_replaced(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "CHILD", ENDING)
    save()
    write("c/last.txt", "c/once.txt", "c/always.txt", "c/first.txt")
    result = run("run", "model.npz", "c/*.txt", "--to", "csv", *OUT)
    assert result.code == 1
    reason = "3 processes ended at it, as where memory is short; the last ended with code -9."
    assert f"rnn-backends: c/always.txt: {reason}\n" in result.err
    assert manifest()["files"]["always.txt.csv"]["failed"] == reason
    assert {*held()} == {"last.txt.csv", "once.txt.csv", "first.txt.csv", NAME}
    # The largest first, and what was tried in vain when the others are done.
    tried = ["first.txt", "always.txt", "once.txt", "last.txt", "always.txt", "once.txt", "always.txt"]
    assert Path("asked").read_text().splitlines() == tried


def test_files_of_one_size_in_their_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "CHILD", ENDING)
    save()
    for name in "bca":
        Path(f"{name}.txt").write_text("abcd")
    assert run("run", "model.npz", "b.txt", "[ac].txt", "--predictions", *OUT).code == 0
    assert Path("asked").read_text().split() == ["a.txt", "b.txt", "c.txt"]


def test_processes_that_never_begin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "CHILD", "open('begun', 'a').write('x'); raise SystemExit(3)")
    save()
    write("c/a.txt")
    result = run("run", "model.npz", "c/*.txt", "--predictions", *OUT)
    assert result.code == 1
    assert "error: the process of the inputs ended with code 3; its output is above." in result.err
    assert Path("begun").read_text() == "xxx"
    assert not Path("out").exists()


def test_an_input_that_changes_while_it_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    write("a.txt")
    made = Worker._made

    def changing(self: Worker, *words: Any) -> dict[str, Any]:
        found = made(self, *words)
        Path("a.txt").write_text("dd")
        return found

    monkeypatch.setattr(Worker, "_made", changing)
    worker = Worker(parse(["run", "model.npz", "a.txt", "--predictions", *OUT]))
    answer = worker.answer(Task("a.txt", "out/a.txt.txt", "part", None))
    assert "a.txt was replaced while it was read" in answer["entry"]["failed"]


REPLACING = """
import os, signal, sys
sys.path[:] = sys.argv[1:]
from rnn_backends.cli.shards import worker
answer = worker.Worker.answer
def replacing(self, task):
    if os.path.exists("other.npz"):
        os.replace("other.npz", "model.npz")
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(self, task)
worker.Worker.answer = replacing
worker.work()
"""


def test_a_model_that_is_replaced_between_two_processes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    save("other.npz", seed=2)
    write("c/a.txt", "c/b.txt")
    words = ("run", "model.npz", "c/*.txt", "--predictions", *OUT)
    with monkeypatch.context() as patch:
        patch.setattr(crew, "CHILD", REPLACING)
        result = run(*words)
    assert (result.code, result.out) == (1, "")
    assert "error: the model was replaced while it was used; the same command again makes all outputs by" in result.err
    assert json.loads(run(*words, "--json").out)["made"] == 2
    assert run(*words[:-1], "anew").code == 0
    assert held("anew") == held()


def test_an_input_that_fails_leaves_the_disk_to_others(run: Run) -> None:
    save()
    Path("a.txt").write_text("abcd" * 300_000 + "x")
    worker = Worker(parse(["run", "model.npz", "a.txt", "--to", "csv", *OUT]))
    assert "'x'" in worker.answer(Task("a.txt", "out/a.txt.csv", "begun", None))["entry"]["failed"]
    assert not Path("begun").exists()


def test_an_output_is_on_the_disk_before_it_is_recorded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    write("a.txt")
    kept: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: kept.append(os.fstat(number).st_size))
    worker = Worker(parse(["run", "model.npz", "a.txt", "--predictions", *OUT]))
    answer = worker.answer(Task("a.txt", "out/a.txt.txt", "begun", None))
    assert kept == [answer["entry"]["output"]["bytes"]] == [Path("begun").stat().st_size]


def test_what_is_no_file_and_what_cannot_be_read_fail_alone(run: Run) -> None:
    save()
    write("c/a.txt", "c/b.txt")
    Path("c/folder.txt").mkdir()
    Path("c/link.txt").symlink_to("nowhere")
    Path("c/loop.txt").symlink_to("loop.txt")
    os.mkfifo("c/pipe.txt")
    report = run("run", "model.npz", "c/*.txt", "--predictions", *OUT, "--jobs", 2, "--json")
    assert report.code == 1
    found = json.loads(report.out)
    assert (found["inputs"], found["made"]) == (5, 2)
    assert [each["input"] for each in found["failed"]] == [f"c/{name}.txt" for name in ("link", "loop", "pipe")]
    assert {*held()} == {"a.txt.txt", "b.txt.txt", NAME}


def test_one_mistake_in_many_inputs_is_not_told_for_each(run: Run) -> None:
    rb.RNN.init(5, 7, output_size=5).save("model.npz")
    write(*(f"c/{index:02}.txt" for index in range(25)), length=2)
    result = run("run", "model.npz", "c/*.txt", "--predictions", *OUT)
    assert result.code == 1
    lines = result.err.splitlines()
    assert len(lines) == 22
    assert "text needs a model with a vocabulary" in lines[0]
    assert lines[20] == "rnn-backends: what else fails is in the manifest.json alone"
    assert sum("failed" in each for each in manifest()["files"].values()) == 25


def test_a_disk_that_is_full(run: Run) -> None:
    save()
    write("c/a.txt", "c/b.txt", "c/z.txt", length=900)
    words = ("run", "model.npz", "c/*.txt", "--predictions", *OUT)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    command = [*PROGRAM, *words, "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "rnn-backends: c/z.txt: 'out/z.txt.txt' cannot be written: File too large.",
        (
            "rnn-backends: error: 1 of 3 inputs failed, for the reasons in 'out/manifest.json'; the same command tries "
            "them again, and no others."
        ),
    ]
    assert sorted(each.name for each in Path("out").iterdir()) == ["a.txt.txt", "b.txt.txt", NAME]
    assert json.loads(run(*words, "--json").out)["made"] == 1
    assert run(*words[:-1], "anew").code == 0
    assert held("anew") == held()


# The folder


def test_commands_that_begin_together(run: Run) -> None:
    """One of them works, and the others say so; whatever they meet, the end is the same."""
    save()
    write("c/a.txt", "c/b.txt")
    words = ("run", "model.npz", "c/*.txt", "--predictions", "--output-dir")
    assert run(*words, "whole").code == 0
    for _ in range(3):
        pipe = subprocess.PIPE
        commands = [subprocess.Popen([*PROGRAM, *words, "out"], stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
        ends = [(command.communicate()[1], command.returncode) for command in commands]
        assert 0 in {code for _, code in ends}
        for err, code in ends:
            assert code == 0 or "another command is at work in 'out'" in err, err
        assert held() == held("whole")
        shutil.rmtree("out")


def test_a_folder_that_goes_as_another_command_begins(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    write("c/a.txt")
    opened, times = os.open, iter((1, 2))

    def going(path: Any, *options: Any) -> int:
        if Path(path).name == "lock" and next(times, None):
            Path("out", ".rnn-backends").rmdir()  # as the end of the first one does
            Path("out").rmdir()
        return opened(path, *options)

    monkeypatch.setattr(os, "open", going)
    assert run("run", "model.npz", "c/*.txt", "--predictions", *OUT).code == 0
    assert next(times, None) is None
    assert {*held()} == {"a.txt.txt", NAME}


def test_outputs_of_another_version_are_made_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    write("c/a.txt", "c/b.txt")
    words = ("run", "model.npz", "c/*.txt", "--predictions", *OUT, "--json")
    assert run(*words).code == 0
    (settings,) = manifest()["settings"].values()
    assert settings["versions"] == {"rnn-backends": rb.__version__, "numpy": np.__version__}
    monkeypatch.setattr(request, "__version__", "0.0.1")
    result = run(*words)
    assert json.loads(result.out)["made"] == 2
    assert result.err == "rnn-backends: changed since the last time: versions; outputs that are made again: 2\n"
    assert json.loads(run(*words).out)["kept"] == 2


def test_one_command_at_a_time(run: Run) -> None:
    save()
    write("c/a.txt")
    words = ("run", "model.npz", "c/*.txt", "--predictions", *OUT)
    Path("out/.rnn-backends").mkdir(parents=True)
    Path("out/.rnn-backends/begun.part").touch()  # as a command leaves it that was killed
    with Path("out/.rnn-backends/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path("out/.rnn-backends/begun.part").unlink()  # which only the one at work removes
        result = run(*words)
        assert result.code == 1
        assert (
            "error: another command is at work in 'out'; wait for its end, or give another --output-dir." in result.err
        )
        assert not held().keys() & {NAME, "a.txt.txt"}
    Path("out/.rnn-backends/begun.part").touch()
    assert run(*words).code == 0
    assert sorted(each.name for each in Path("out").iterdir()) == ["a.txt.txt", NAME]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "out/manifest.json: it is no manifest of outputs in format 1, but None; give another --output-dir"),
        ('{"format": 2}', "in format 1, but 2; update rnn-backends."),
        ('{"format": 1, "settings": []}', "it must have the objects 'settings' and 'files'; move it away"),
        ('{"format": 1, "settings": {}, "files": {"a": {}}}', "its entry 'a' is damaged; move it away"),
        ('{"format": 1, "settings": {}, "files": {"a": {"failed": "x", "settings": "y"}}}', "its entry 'a' is damaged"),
        ('{"format": 1, "settings": {"y": 1}, "files": {}}', "it must have the objects 'settings' and 'files'"),
        (
            (
                '{"format": 1, "settings": {"y": {}}, "files": {"a": {"settings": "y", "sequences": 1, "steps": 1, '
                '"judged": 1, "input": {"sha256": "", "bytes": 0}, "output": {"sha256": "", "bytes": 0}}}}'
            ),
            "its entry 'a' is damaged",
        ),
        ("[]", "it is no manifest of outputs in format 1, but None"),
        ("[1", "manifest.json: it is no JSON: "),
        ("[" * 100_000, "manifest.json: it is no JSON: "),
    ],
)
def test_a_manifest_that_is_none(run: Run, text: str, message: str) -> None:
    save()
    write("c/a.txt")
    Path("out").mkdir()
    Path("out", NAME).write_text(text)
    result = run("run", "model.npz", "c/*.txt", "--predictions", *OUT)
    assert (result.code, held()) == (1, {NAME: text.encode()})
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_a_manifest_of_very_many_outputs(run: Run) -> None:
    """Which is more text than any file of others may have."""
    save()
    write("c/a.txt")
    words = ("run", "model.npz", "c/*.txt", "--predictions", *OUT, "--json")
    assert run(*words).code == 0
    before = manifest()
    ((name, entry),) = before["files"].items()
    failed = {"failed": "x" * 300, "settings": entry["settings"]}
    more = {**before, "files": {name: entry, **{f"{index:06}": failed for index in range(30_000)}}}
    Path("out", NAME).write_text(json.dumps(more))
    assert Path("out", NAME).stat().st_size > 10_000_000
    result = run(*words)
    assert (result.code, json.loads(result.out)["kept"]) == (0, 1)
    assert manifest() == before


@pytest.mark.parametrize("is_pattern", [False, True])
@pytest.mark.usefixtures("run")
def test_the_disk_is_asked_once_for_each_name(monkeypatch: pytest.MonkeyPatch, is_pattern: bool) -> None:
    """The time of the start grows with the files, not with their square."""
    names, asked = [f"in/{index}.txt" for index in range(40)], []
    write(*names, length=1)
    real = os.path.realpath

    def realpath(path: Any, **options: Any) -> Any:
        asked.append(path)
        return real(path, **options)

    monkeypatch.setattr(os.path, "realpath", realpath)
    words = [Word(Path(name)) for name in (["in/*.txt"] if is_pattern else names)]
    found = inputs_of(words)
    require_outside(words, found, [f"{each.name}.csv" for each in found], Path("out"))
    assert len(found) == 40
    assert len(asked) <= 40 + 2  # the inputs, the folder of the outputs and that of the pattern


TEXTS = ("run", "model.npz", "c/*.txt", "--predictions")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((*TEXTS, "--jobs", 2), 2, "--jobs is for --output-dir; name the folder of the outputs by it"),
        ((*TEXTS, *OUT, "--jobs", 0), 2, "--jobs: expected a positive integer; got '0'; or auto, for as many"),
        ((*TEXTS, *OUT, "-j", 2), 2, "there is no option -j. Did you mean --jobs?"),
        ((*TEXTS, "--out-dir", "out"), 2, "there is no option --out-dir. Did you mean --output-dir?"),
        ((*TEXTS, "--workers", 2), 2, "Did you mean --jobs?"),
        ((*TEXTS, *OUT, "--output", "y.csv"), 2, "--output names one file, and --output-dir a folder of them; leave out"),
        ((*TEXTS, *OUT, "--lengths", 2), 2, "--lengths is for one input; with --output-dir, give `lengths` in .npz files"),
        ((*TEXTS, "-", *OUT), 2, "--output-dir is for files, and - is stdin; leave out one"),
        ((*TEXTS, *OUT, "--to", "npz"), 2, "expected one of text, npy, csv, tsv, jsonl, parquet; got 'npz'"),
        ((*TEXTS, *OUT, "--quiet", "true"), 2, "options of yes or no take no value"),
        (("run", "model.npz", "c/*.txt", *OUT), 2, "text, as which 'c/a.txt' is read, can hold predictions only; add --p"),
        (("run", "model.npz", "c/*", *OUT, "--to", "csv"), 2, "files named .json are not read"),
        ((*TEXTS, *OUT, "--id", "a"), 2, "'c/a.txt': --id is for tables, and the input is text"),
        (TEXTS, 1, "A pattern needs an --output-dir: rnn-backends run MODEL 'c/*.txt' --output-dir DIR"),
        (("run", "model.npz", "c/a.txt", "c/b.txt"), 2, "no place for 'c/b.txt'; several files need --output-dir DIR"),
        (("run", "model.npz", "d/*.txt", *OUT), 1, "no file matches the pattern 'd/*.txt'; there is no folder 'd'."),
        (("run", "model.npz", "c/*.csv", *OUT), 1, "no file matches the pattern 'c/*.csv'."),
        (("run", "model.npz", "c", *OUT), 1, "'c' is a folder; name the files in it by a pattern, as 'c/*.txt'."),
        (("run", "model.npz", "c/aa.txt", *OUT), 1, "cannot use 'c/aa.txt': No such file or directory. Did you mean"),
        ((*TEXTS, "--output-dir", "model.npz"), 1, "'model.npz' is a file, and --output-dir names a folder; choose"),
        ((*TEXTS, "--output-dir", "model.npz/x"), 1, "cannot"),
        ((*TEXTS, "--output-dir", "c"), 1, "the outputs in 'c' would be among 'c/*.txt' the next time; choose an --outp"),
        (("run", "model.npz", "**/*.txt", "--predictions", *OUT), 1, "the outputs in 'out' would be among '**/*.txt'"),
        (("run", "model.npz", "c/*.json", "--from", "text", "--to", "csv", "--output-dir", "c"), 1, "the outputs in 'c' would be among 'c/*.json'"),
        ((*TEXTS, "c/a.txt.txt/b", *OUT), 1, "the output of 'c/a.txt.txt/b', 'a.txt.txt/b.txt', would take the place of that of"),
        (("run", "no.npz", "c/*.txt", "--predictions", *OUT), 1, "cannot use 'no.npz': No such file or directory."),
        ((*TEXTS, *OUT, "--backend", "cuppy"), 1, "option --backend"),
        (("run", "c/a.txt", "model.npz", *OUT, "--predictions"), 1, "The model comes first: rnn-backends run model.npz"),
    ],
)  # fmt: skip
def test_mistakes(run: Run, words: tuple[object, ...], code: int, message: str) -> None:
    save()
    write("c/a.txt", "c/b.txt", "c/x.json", *(["c/a.txt.txt/b"] if "c/a.txt.txt/b" in words else []))
    before = held(".")
    result = run(*words)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert len(result.err) < 600
    assert held(".") == before
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("names", "is_refused"),
    [
        (("a.txt.csv", "A.txt.csv"), True),
        (("\u00e9.csv", "e\u0301.csv"), True),
        (("a/b.csv", "A"), True),
        (("Manifest.json/a",), True),
        (("a.csv", "b.csv", "a/a.csv"), False),
    ],
)
def test_names_that_a_folder_takes_for_one(names: tuple[str, ...], is_refused: bool) -> None:
    inputs = {name: Path(name) for name in names}
    require_apart(inputs, (NAME,), ignores_case=False)
    if is_refused:
        with pytest.raises(rb.ArgumentError, match="would take the place of"):
            require_apart(inputs, (NAME,), ignores_case=True)
    else:
        require_apart(inputs, (NAME,), ignores_case=True)


def test_outputs_are_no_inputs(run: Run) -> None:
    """A shell that expands a pattern names the outputs of the last time, too."""
    save()
    write("c/a.txt")
    words = ("run", "model.npz", "c/a.txt", "--predictions", "--output-dir", "c")
    assert run(*words).code == 0
    result = run(*words, "c/a.txt.txt")
    assert result.code == 1
    assert "error: the input 'c/a.txt.txt' is an output in 'c'; choose a pattern without outputs" in result.err
    write("c/b.txt")
    hidden = ("run", "model.npz", "c/**/?.txt*", "--predictions", "--output-dir", "c/.out")
    assert [run(*hidden).code for _ in range(2)] == [0, 0], "no wildcard stands for a hidden folder"
