"""The networks of examples/vowels and examples/sunspots: what their README.md state, on every backend, and programs.

With --gallery FOLDER, those of copies of the two folders, in which the networks were trained again.
"""

import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb

SHIPPED = Path(__file__).parents[1] / "examples"
PROGRAMS = {"vowels": "classify.py", "sunspots": "forecast.py"}
DATA = {"vowels": "vowels.npz", "sunspots": "sunspots.csv"}


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(request.config.getoption("--gallery") or SHIPPED).resolve()


def stated(name: str, pattern: str) -> list[float]:
    """Return the numbers that README.md states where a pattern of several groups matches."""
    found = re.search(pattern, (SHIPPED / name / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    return [float(number) for number in found.groups()]


def constant(name: str, which: str) -> str:
    """Return a string of train.py, which cannot be imported without torch."""
    text = (SHIPPED / name / "train.py").read_text(encoding="utf-8")
    (found,) = re.findall(rf'^{which} = "(.+)"$', text, re.MULTILINE)
    return str(found)


def printed(folder: Path, name: str, elsewhere: Path, *words: str) -> list[str]:
    """Run a program from another working directory and return the lines that it prints."""
    command = [sys.executable, "-W", "error", str(folder / name / PROGRAMS[name]), *words]
    run = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


def utterances(folder: Path, name: str) -> tuple[list[Any], Any]:
    with np.load(folder / "vowels" / "data" / "vowels.npz") as data:
        return np.split(data[name], data[f"{name}_lengths"].cumsum()[:-1]), data[f"{name}_speakers"]


def sunspots(folder: Path) -> tuple[Any, Any]:
    years, numbers = np.loadtxt(folder / "sunspots" / "data" / "sunspots.csv", delimiter=",").T
    return years, numbers


def loaded(folder: Path, name: str, backend: str = "numpy") -> rb.RNN:
    return rb.load(folder / name / f"{name}.safetensors", backend=backend)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_short_and_its_network_small(folder: Path, name: str) -> None:
    text = (folder / name / PROGRAMS[name]).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 30
    imported = set(re.findall(r"^(?:import|from) ([\w.]+)", text, re.MULTILINE))
    assert imported <= {"numpy", "rnn_backends", *sys.stdlib_module_names}
    assert (folder / name / f"{name}.safetensors").stat().st_size < 200_000
    assert (folder / name / "data" / DATA[name]).stat().st_size < 500_000
    assert {"task", "source", "licence", "trained by"} <= loaded(folder, name).metadata.keys()


def test_the_data_of_vowels_are_what_training_makes(folder: Path) -> None:
    with np.load(folder / "vowels" / "data" / "vowels.npz") as data:
        arrays = dict(data)
    attribution = str(arrays.pop("attribution"))
    digest = sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()
    assert digest == constant("vowels", "SHA256")
    assert {name: array.dtype.name for name, array in arrays.items() if "_" not in name} == {
        "train": "float32",
        "test": "float32",
    }
    assert attribution == loaded(folder, "vowels").metadata["source"]
    readme = (SHIPPED / "vowels" / "README.md").read_text(encoding="utf-8")
    for word in ("Kudo", "Toyama", "Shimbo", "https://doi.org/10.24432/C5NS47", "CC BY 4.0", "float32"):
        assert word in attribution
        assert word in readme


def test_the_sets_of_vowels(folder: Path) -> None:
    for name, of_speaker in {"train": [30] * 9, "test": [31, 35, 88, 44, 29, 24, 40, 50, 29]}.items():
        series, speakers = utterances(folder, name)
        assert np.bincount(speakers).tolist() == of_speaker
        assert {len(one) for one in series} <= set(range(7, 30))
        assert {one.shape[1] for one in series} == {12}


def test_the_data_of_sunspots_are_what_training_makes(folder: Path) -> None:
    content = (folder / "sunspots" / "data" / "sunspots.csv").read_bytes()
    assert sha256(content).hexdigest() == constant("sunspots", "SHA256")
    assert b"public domain" in content
    years, numbers = sunspots(folder)
    assert years.tolist() == list(range(1700, 2009))
    assert numbers.max() == numbers[years == 1957][0] == 190.2


def test_vowels_on_a_backend(folder: Path, backend: str) -> None:
    """The whole test set in one batch; what README.md states is reached, and padding changes nothing."""
    percent, count = stated("vowels", r"\| (\d+\.\d)% of (\d+) utterances right \|")
    rnn, (series, speakers) = loaded(folder, "vowels", backend), utterances(folder, "test")
    x, lengths = rb.pad(series)
    p = rb.to_numpy(rnn.probabilities(x, lengths=lengths))
    right = 100 * float(np.mean(p.argmax(axis=1) == speakers))
    assert len(series) == count
    assert round(right, 1) == percent if folder == SHIPPED else right > percent - 3
    assert (rb.to_numpy(rnn.predict(x, lengths=lengths)) == p.argmax(axis=1)).all()
    for k in (0, 31, 369):
        alone = rb.to_numpy(rnn.probabilities(series[k][:, None]))
        np.testing.assert_allclose(alone[0], p[k], atol=1e-5)


def test_the_encoder_of_vowels_standardises(folder: Path) -> None:
    rnn, (series, _) = loaded(folder, "vowels"), utterances(folder, "train")
    frames = np.concatenate(series)
    encoder = rnn.encoder
    assert isinstance(encoder, rb.Linear)
    standardised = frames @ encoder.weight.T + encoder.bias
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(standardised.std(axis=0), 1, atol=1e-4)
    assert (rnn.reads, rnn.takes, len(rnn.metadata["classes"].split())) == ("final", "features", 9)


def rmse(guess: Any, numbers: Any) -> float:
    return float(np.sqrt(np.mean(np.square(guess - numbers))))


def test_sunspots_on_a_backend(folder: Path, backend: str) -> None:
    """One year ahead, from a whole sequence and from a stream year by year; what README.md states is reached."""
    error, regression, persistence = stated(
        "sunspots", r"\| (\S+) root mean square error; (\S+) of an autoregression of order nine, (\S+) if each year"
    )
    rnn, (years, numbers) = loaded(folder, "sunspots", backend), sunspots(folder)
    held_out = years >= 1950
    forecasts = rb.to_numpy(rnn.logits(numbers[:, None]))[:, 0]
    found = rmse(forecasts[:-1][held_out[1:]], numbers[held_out])
    assert round(found, 1) == error if folder == SHIPPED else found < error + 2
    assert round(rmse(numbers[:-1][held_out[1:]], numbers[held_out]), 1) == persistence
    assert round(rmse(autoregression(numbers, held_out), numbers[held_out]), 1) == regression
    stream = rnn.stream()
    one_by_one = [rb.to_numpy(stream.logits(numbers[k : k + 1, None]))[0, 0] for k in range(len(numbers))]
    np.testing.assert_allclose(one_by_one, forecasts, atol=1e-2)


def autoregression(numbers: Any, held_out: Any) -> Any:
    """Return the forecasts of the years held out by the nine years before each, fitted by least squares to the others."""
    known = np.lib.stride_tricks.sliding_window_view(numbers[:-1], 9)
    known = np.column_stack([known, np.ones(len(known))])
    fitted = ~held_out[9:]
    weights, *_ = np.linalg.lstsq(known[fitted], numbers[9:][fitted], rcond=None)
    return known[~fitted] @ weights


def test_the_network_of_sunspots_is_eight_networks(folder: Path) -> None:
    rnn, (years, numbers) = loaded(folder, "sunspots"), sunspots(folder)
    cell = rnn.layers[0].forward
    assert isinstance(cell, rb.Cell)
    weight_hh = cell.weight_hh.reshape(8, 8, 8, 8)
    for row in range(8):
        for column in range(8):
            assert weight_hh[row, :, column].any() == (row == column)
    encoder = rnn.encoder
    assert isinstance(encoder, rb.Linear)
    assert encoder.bias is not None
    standardised = numbers[years < 1950] * encoder.weight[0, 0] + encoder.bias[0]
    assert abs(standardised.mean()) < 1e-4
    assert standardised.std() == pytest.approx(1, abs=1e-4)


def test_classify(folder: Path, tmp_path: Path) -> None:
    *lines, last = printed(folder, "vowels", tmp_path)
    series, speakers = utterances(folder, "test")
    for line, k in zip(lines, (0, 31, 137, 189, 369), strict=True):
        pattern = rf" *{k}  speaker-\d \d+%  \(it is speaker-{speakers[k] + 1}; {len(series[k])} steps\)"
        assert re.fullmatch(pattern, line)
    (found,) = re.findall(r"(\d+) of 370 utterances right", last)
    x, lengths = rb.pad(series)
    assert int(found) == (loaded(folder, "vowels").predict(x, lengths=lengths) == speakers).sum()
    line, _ = printed(folder, "vowels", tmp_path, "100")
    assert line.startswith("100  speaker-3 ")


def test_forecast(folder: Path, tmp_path: Path) -> None:
    lines = printed(folder, "sunspots", tmp_path)
    assert [line.split()[0] for line in lines[:5]] == ["2004", "2005", "2006", "2007", "2008"]
    assert lines[4].endswith("counted   2.9")
    assert lines[6] == "error of last year's number in 1950-2008: 33.2 (root mean square)"
    run = [float(line.split()[-1]) for line in lines[7:]]
    np.testing.assert_allclose(run, free_run(loaded(folder, "sunspots"), sunspots(folder)[1], 11), atol=0.051)


def free_run(rnn: rb.RNN, known: Any, count: int) -> list[float]:
    """Return forecasts of the years after those known, each of all numbers and forecasts before it."""
    series = [*known]
    for _ in range(count):
        series.append(float(rnn.logits(np.array(series)[:, None])[-1, 0]))
    return series[len(known) :]


def test_the_command_of_the_readme(folder: Path) -> None:
    """It goes on as a free run of the network does."""
    readme = (SHIPPED / "sunspots" / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^```sh\n(.*rnn-backends generate .*)\n```$", readme, re.MULTILINE)
    script = 'rnn-backends() { "$PYTHON" -m rnn_backends "$@"; }\n' + command.replace("examples/", f"{folder}/")
    environment = {**os.environ, "PYTHON": sys.executable}
    run = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    found = [float(line) for line in run.stdout.split()]
    np.testing.assert_allclose(found, free_run(loaded(folder, "sunspots"), sunspots(folder)[1], 11), atol=1e-2)


def test_a_free_run_goes_on_in_cycles(folder: Path) -> None:
    years, numbers = sunspots(folder)
    run = np.array(free_run(loaded(folder, "sunspots"), numbers[years < 1950], 100))
    assert -20 < run.min() < run.max() < 200
    maxima = np.flatnonzero((run[1:-1] > run[:-2]) & (run[1:-1] > run[2:]))
    assert 9 < np.diff(maxima).mean() < 13
    assert np.ptp(run[-11:]) > 40
