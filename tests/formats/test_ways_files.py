"""Ways out of refusals of files as such, and of what a file cannot hold, each followed to the right numbers."""

import os
import pickle
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from native_files import Doubled
from plain import X, network, normal, of_torch, states
from safetensors.numpy import save_file
from ways import follow, refused

import rnn_backends as rb
from rnn_backends.formats import files
from rnn_backends.formats.source import Source

CASES = Path(__file__).parents[1] / "data" / "cases"
WANTED = of_torch(network(), X, "rnn.")


def output(rnn: rb.RNN) -> Any:
    return rnn(X)[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.savez(tmp_path / "m.npz", **network())
    return tmp_path / "m.npz"


def load(path: Path) -> rb.RNN:
    return rb.load(path, activation="tanh")


def test_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Source.look
    os.utime(path, ns=(0, 0))

    def written_meanwhile(self: Source, *given: Any) -> Any:
        found = look(self, *given)
        path.write_bytes(path.read_bytes())
        return found

    monkeypatch.setattr(Source, "look", written_meanwhile)
    refused("again", partial(load, path))
    monkeypatch.undo()
    np.testing.assert_allclose(output(load(path)), WANTED, atol=1e-6)
    follow_again(path, monkeypatch)


def follow_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = path.stat().st_size

    def shortened(self: Source, *given: Any) -> Any:
        monkeypatch.undo()
        os.truncate(path, size // 2)
        return self.look(*given)

    def again() -> rb.RNN:
        np.savez(path, **network())
        return load(path)

    monkeypatch.setattr(Source, "look", shortened)
    follow("again", partial(load, path), WANTED, output, then=again)


def test_file_in(path: Path) -> None:
    follow("file_in", lambda: load(path.parent), WANTED, output, then=lambda: load(path))


@pytest.mark.parametrize("name", ["_CHECKPOINT_METADATA", "_METADATA"])
def test_orbax(tmp_path: Path, name: str) -> None:
    tree = {"i": {"kernel": normal(3, 4), "bias": normal(4)}, "h": {"kernel": normal(4, 4)}}
    wanted = states(X, tree["i"]["kernel"].T, tree["h"]["kernel"].T, tree["i"]["bias"])
    (tmp_path / name).write_text("{}")
    follow("orbax", lambda: load(tmp_path), wanted, lambda rnn: rnn(X.swapaxes(0, 1))[0].swapaxes(0, 1),
           then=lambda: rb.from_flax(tree, activation="tanh", residual=False))  # fmt: skip


def test_saved_model(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    x, y = (np.load(CASES / f"keras2_simple.{what}.npy") for what in "xy")
    follow("saved_model", lambda: load(tmp_path), y, lambda rnn: rnn.probabilities(x),
           then=lambda: rb.load(CASES / "keras2_simple.keras"))  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are of POSIX")
def test_copied(path: Path) -> None:
    fifo, copy = path.parent / "fifo", path.parent / "copy.npz"
    os.mkfifo(fifo)

    def copied() -> rb.RNN:
        writer = Thread(target=fifo.write_bytes, args=(path.read_bytes(),))
        writer.start()
        copy.write_bytes(fifo.read_bytes())
        writer.join()
        return load(copy)

    follow("copied", lambda: load(fifo), WANTED, output, then=copied)


def test_weights_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file(network(), path, metadata={"log": "x" * 21_000_000})

    def alone() -> rb.RNN:
        save_file(network(), path)
        return load(path)

    follow("weights_alone", lambda: load(path), WANTED, output, then=alone)


def test_not_packed(tmp_path: Path) -> None:
    size = 3700  # of a sparse reservoir, say, of which hardly anything is left when it is packed
    held: dict[str, Any] = {
        "weight_ih_l0": np.eye(size, X.shape[-1], dtype="f4"),
        "weight_hh_l0": np.zeros((size, size), "f4"),
    }
    path = tmp_path / "m.npz"
    save: Any = np.savez_compressed
    save(path, **held)

    def plain() -> rb.RNN:
        np.savez(path, **held)
        return load(path)

    wanted = states(X, held["weight_ih_l0"], held["weight_hh_l0"], np.zeros(size))
    follow("not_packed", lambda: load(path), wanted, output, then=plain)


def test_name_both() -> None:
    state = network() | {"fc.bias": normal(2), "w_out": normal(2, 4)}
    read = partial(rb.from_torch, state, activation="tanh", readout_activation="softmax")
    both = {"fc.bias": "readout.bias", "w_out": "readout.weight"}
    wanted = WANTED @ state["w_out"].T + state["fc.bias"]
    follow("name_both", read, wanted, lambda rnn: rnn.logits(X), then=lambda: read(names=both))


# What a file cannot hold


def test_pickled(tmp_path: Path) -> None:
    rnn = rb.RNN([Doubled(normal(4, 3), normal(4, 4))])
    wanted = rnn(X)[0]

    def saved() -> rb.RNN:
        rnn.save(tmp_path / "m.npz")
        return rnn

    def pickled() -> rb.RNN:
        again = pickle.loads(pickle.dumps(rnn))
        assert isinstance(again, rb.RNN)
        return again

    follow("pickled", saved, wanted, output, then=pickled)


def test_other_name(path: Path) -> None:
    rnn = load(path)
    (path.parent / "folder.npz").mkdir()

    def saved(name: str) -> rb.RNN:
        rnn.save(path.parent / name)
        return rb.load(path.parent / name)

    follow("other_name", lambda: saved("folder.npz"), WANTED, output, then=lambda: saved("other.npz"))


def test_other_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that takes no new file, as the superuser finds none."""
    rnn, shut, kind, access = load(path), path.parent / "shut", files.File, os.access
    shut.mkdir()

    def made(file: Path, mode: str, what: Path, *opener: Any) -> files.File:
        with files.writing(what):
            if shut in {file, file.parent}:
                raise PermissionError(13, "Permission denied")
        return kind(file, mode, what, *opener)

    def saved(name: str) -> rb.RNN:
        rnn.save(path.parent / name)
        return rb.load(path.parent / name)

    monkeypatch.setattr(files, "File", made)
    monkeypatch.setattr(os, "access", lambda place, how: Path(place) != shut and access(place, how))
    follow("other_folder", lambda: saved("shut/m.npz"), WANTED, output, then=lambda: saved("m.npz"))


def test_torch_save(path: Path) -> None:
    torch = pytest.importorskip("torch")
    rnn = load(path)

    def saved() -> rb.RNN:
        rnn.save(path.with_suffix(".pt"))
        return rnn

    def with_torch() -> rb.RNN:
        state = {name: torch.from_numpy(array) for name, array in rnn.to_torch().items()}
        torch.save(state, path.with_suffix(".pt"))
        return load(path.with_suffix(".pt"))

    follow("torch_save", saved, WANTED, output, then=with_torch)
