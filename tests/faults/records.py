"""What a run without a limit leaves behind: a hash of each source file, the tests that guard it and its lines of the table."""

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from faults.guards import Guards
from faults.placing import Place, Source

Record = dict[str, str]


def key(source: Source, root: str) -> str:
    return f"{root}/{source.name}"


def hashes(places: Iterable[Place], guards: Guards) -> Record:
    """Return the hash of each file that faults stand in, with that of what guards it."""
    by_file: dict[str, list[Place]] = {}
    for found in places:
        by_file.setdefault(key(found.source, found.fault.root), []).append(found)
    return {name: _hash(held, guards) for name, held in sorted(by_file.items())}


def _hash(held: list[Place], guards: Guards) -> str:
    files = {guards.file(test) for found in held for test in found.fault.tests}
    lines = sorted(f"{found.fault.line()} {found.fault.options}" for found in held)
    parts = [held[0].source.text, *lines, *(path.read_text(encoding="utf-8") for path in sorted(files))]
    return sha256("\0".join(parts).encode()).hexdigest()


def read(path: Path) -> Record:
    """Return the record of the last such run; without a file, of none."""
    found: Record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def write(path: Path, record: Record) -> None:
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
