"""Damaged files of this package load or are refused as they should."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_files import SUFFIXES, description, make, npy, refuse, small, unbiased, weights, write, write_members

import rnn_backends as rb

pytestmark = pytest.mark.sampled(3)


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"model{request.param}"


def test_a_file_cut_short_anywhere_is_refused(path: Path) -> None:
    whole = small(path)
    rb.load(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refuse(
            path, "is no .*file, or is .*|is damaged: |is not valid JSON|is declared .* but its data_offsets|is empty"
        )


def changed(whole: bytes, draw: np.random.Generator) -> bytes:
    """Change one to three bytes, to what has a meaning in one of the formats or by a bit."""
    held = bytearray(whole)
    for place in draw.integers(len(whole), size=draw.integers(1, 4)):
        flipped = held[place] ^ 1 << int(draw.integers(8))
        held[place] = draw.choice([0, 255, *b"{}[]()',:-0123456789LTF<>|\"\\ ", *[flipped] * 20])
    return bytes(held)


def loads(path: Path, **options: Any) -> bool:
    """Tell whether a file loads; else it must be refused as it should."""
    try:
        assert isinstance(rb.load(path, **options), rb.RNN)
    except rb.FormatError:
        return False
    return True


@pytest.mark.sampled(2)
@pytest.mark.parametrize("seed", range(3))
def test_bytes_changed_anywhere_load_or_are_refused(path: Path, seed: int) -> None:
    whole, draw = small(path), np.random.default_rng(seed)
    loaded = 0
    for _ in range(500):
        path.write_bytes(changed(whole, draw))
        loaded += loads(path)
    assert 0 < loaded < 250


def test_bytes_changed_within_sound_zip_files_load_or_are_refused(tmp_path: Path) -> None:
    # The checksums of a zip file would not let these through.
    path, draw = tmp_path / "m.npz", np.random.default_rng(4)
    members = {name: npy(array) for name, array in unbiased().items()}
    loaded = 0
    for _ in range(1000):
        write_members(path, members | {"weight_hh_l0": changed(members["weight_hh_l0"], draw)})
        loaded += loads(path, activation="tanh")
    assert 0 < loaded < 800


def test_characters_changed_in_the_description_load_or_are_refused(path: Path) -> None:
    text, draw = json.dumps(description()).encode(), np.random.default_rng(5)
    loaded = 0
    for _ in range(300):
        write(path, weights(), changed(text, draw).decode("latin1"))
        loaded += loads(path)
    assert 0 < loaded < 150


def test_bytes_of_nothing_at_all_are_refused(path: Path) -> None:
    draw = np.random.default_rng(0)
    for length in [*range(40), 1000]:
        path.write_bytes(draw.bytes(length))
        refuse(path, "is no .*file, or is |is damaged: |is not valid JSON|it is empty")


@pytest.mark.parametrize("suffix", ["", ".safetensors", ".npz", ".pt", ".onnx", ".dat"])
@pytest.mark.parametrize("written", [".safetensors", ".npz"])
def test_content_decides_the_format(tmp_path: Path, written: str, suffix: str) -> None:
    made, path = tmp_path / f"m{written}", tmp_path / f"n{suffix}"
    make("layers").save(made)
    made.rename(path)
    assert rb.load(path).num_parameters == make("layers").num_parameters
