"""The program of examples/million: what it finds, with a worker that is killed and without, and what it records."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb

for package in ("dask", "distributed"):
    pytest.importorskip(package)

classify, million = map(import_module, ("classify", "million"))

FOLDER = Path(__file__).parents[2] / "examples" / "million"
COUNT = 61_000
"""Of thirteen parts, the last of which is short."""


def printed(folder: Path, *words: str) -> list[str]:
    """Run the program from another folder, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error:::__main__", str(FOLDER / "classify.py"), *words],
        capture_output=True, text=True, check=False, cwd=folder, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("million")
    lines = printed(folder, "--count", str(COUNT), "--kill", "--record", "run.json")
    record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return lines, record


def test_a_worker_that_is_killed_changes_nothing(killed: tuple[list[str], dict[str, Any]], tmp_path: Path) -> None:
    _, record = killed
    *_, line, _, _ = printed(tmp_path, "--count", str(COUNT), "--workers", "1")
    assert line.endswith(f"other languages; {record['digest']}")
    assert record["different"] == 0
    assert record["sample"] == 10_000


def test_the_languages_are_those_of_one_process(killed: tuple[list[str], dict[str, Any]]) -> None:
    _, record = killed
    names = classify.made_up(0, COUNT, classify.halves())
    assert len(set(names)) > 0.99 * COUNT
    rnn = rb.load(FOLDER.parent / "deploy" / "names.safetensors")
    found = rnn.predict_many(names).astype(np.uint8)
    assert record["digest"] == classify.digest(found)
    shares = np.bincount(found, minlength=6) / COUNT
    np.testing.assert_allclose(list(record["languages"].values()), shares, rtol=0, atol=1e-4)
    for k in (0, 5000, COUNT - 1):
        assert found[k] == rnn.predict(names[k])


def test_what_is_recorded(killed: tuple[list[str], dict[str, Any]]) -> None:
    lines, record = killed
    tasks = record["tasks"]
    assert {len(column) for column in tasks.values()} == {13}
    assert set(tasks["process"]) <= {0, 1, 2}
    assert all(0 <= begun < ended for begun, ended in zip(tasks["begun"], tasks["ended"], strict=True))
    assert 0 < record["killed"] <= max(tasks["ended"])
    assert all(20 < mib < 1000 for mib in tasks["MiB"])
    assert re.fullmatch(r"61,000 names, 13 tasks: \d+\.\d\d s, [\d,]+ a second and worker", lines[0])
    assert re.fullmatch(r"a worker was killed at \d+\.\d\d s; [123] processes took part", lines[1])


@pytest.mark.parametrize("words", [("--count", "0"), ("--workers", "-1")])
def test_words_that_are_wrong(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        classify.main(words)
    assert capsys.readouterr().err.splitlines()[-1].endswith("error: --count and --workers must be at least 1")


def record_of(exponents: dict[str, float], counts: tuple[int, ...] = (10, 100, 1000)) -> dict[str, Any]:
    """Return a record whose figures grow as powers of the count."""
    of_one, of_dask = ("seconds", "processor"), ("Dask seconds", "tasks", "workers", "client")
    rows = [{name: 3 * count ** exponents[name] for name in (*of_one, *of_dask)} for count in counts]
    alone = [{name: row[name] for name in of_one} for row in rows]
    crowd = [{name.removeprefix("Dask "): row[name] for name in of_dask} for row in rows]
    return {"counts": list(counts), "predict_many": alone, "Dask": crowd}


def test_slopes_are_the_exponents_of_each_time() -> None:
    exponents = {"seconds": 1.1, "processor": 0.9, "Dask seconds": 1.2, "tasks": 0.8, "workers": 0.7, "client": 0.7}
    assert million.slopes(record_of(exponents)) == {
        "predict_many": pytest.approx(1.1),
        "predict_many, processor time": pytest.approx(0.9),
        "Dask": pytest.approx(1.2),
        "Dask, processor time of tasks": pytest.approx(0.8),
        "Dask, processor time of workers": pytest.approx(0.7),
        "Dask, processor time of all": pytest.approx(0.7),
    }
    of_all = million.slopes(record_of(exponents | {"client": 1.5}))["Dask, processor time of all"]
    assert 1.2 < of_all < 1.5


@pytest.mark.parametrize(("exponent", "code"), [(1.0, 0), (0.94, 1), (1.06, 1)])
def test_a_slope_that_is_not_one_fails_the_check(exponent: float, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    exponents = dict.fromkeys(("seconds", "processor", "Dask seconds", "tasks", "workers", "client"), 1.0)
    found = million.slopes(record_of(exponents | {"processor": exponent}))
    monkeypatch.setattr(million, "measured", lambda most, note: {"slopes": found})
    assert million.main(["--check"]) == code
    assert million.main([]) == 0


def test_what_is_said_is_what_was_recorded() -> None:
    record = json.loads((FOLDER / "scaling.json").read_text(encoding="utf-8"))
    slopes = million.slopes(record)
    assert record["slopes"] == {name: pytest.approx(value) for name, value in slopes.items()}
    alone, of_all = slopes["predict_many, processor time"], slopes["Dask, processor time of all"]
    clock = f"slopes of the seconds: `predict_many` {slopes['predict_many']:.2f}, Dask {slopes['Dask']:.2f}"
    said = f"`predict_many` {alone:.2f}; Dask, client and scheduler included, {of_all:.2f}"
    assert f"{clock}; slopes of the processor time: {said} |" in (FOLDER / "README.md").read_text(encoding="utf-8")
