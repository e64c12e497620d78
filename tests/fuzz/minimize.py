"""A corpus that is chosen by the lines that it reaches: the shortest choices, without the ends that do nothing."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

from fuzz import engine
from fuzz.lines import Line, Lines
from fuzz.trial import Trial

_LEAST = 4
"""The fewest bytes that are tried to be left out at once."""
_WIDTH = 3
"""Bytes that one more case is worth."""


def minimized(reader: str, folder: Path | None) -> None:
    """Write the corpus of a reader anew, of it and of what processes have kept in a folder."""
    candidates = {*engine.corpus(reader)}
    path = folder / f"{reader}.json" if folder is not None else None
    if path is not None and path.exists():
        candidates |= {bytes.fromhex(data) for data in json.loads(path.read_text(encoding="utf-8"))["kept"]}
    sight = Lines()
    with Trial(reader) as trial:
        sight.start()
        trial.warm()

        def reached(data: bytes) -> frozenset[Line]:
            sight.again()
            return frozenset(sight.taken()) if trial.tried(data) in {"loaded", "refused"} else frozenset()

        chosen = _chosen({data: reached(data) for data in sorted(candidates, key=len)})
        shorter = {_shortened(data, needed, reached) for data, needed in chosen.items()}
        # A case that fails stays until what it shows is mended.
        shorter |= {data for data in engine.corpus(reader) if trial.tried(data) not in {"loaded", "refused"}}
    lines = [base64.b64encode(data).decode("ascii") for data in sorted(shorter, key=lambda data: (len(data), data))]
    engine.CORPUS.mkdir(exist_ok=True)
    (engine.CORPUS / f"{reader}.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    print(f"{reader}: {len(lines)} of {len(candidates)} cases, {sum(map(len, shorter))} bytes of choices")


def _chosen(reached: dict[bytes, frozenset[Line]]) -> dict[bytes, frozenset[Line]]:
    """Return cases that reach all lines together, each with those that no other chosen before it does."""
    left = set[Line]().union(*reached.values())
    found = {}
    while left:
        best = max(reached, key=lambda data: len(reached[data] & left) / (len(data) + _WIDTH))
        found[best] = reached[best] & left
        left -= found[best]
    return found


def _shortened(data: bytes, needed: frozenset[Line], reached: Callable[[bytes], frozenset[Line]]) -> bytes:
    """Return choices without what is not needed to reach some lines."""
    size = len(data)
    while size >= _LEAST:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if needed <= reached(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data
