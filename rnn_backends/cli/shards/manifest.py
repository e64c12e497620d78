"""The manifest of a folder of outputs: which are whole, of which input and settings, and what failed."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from time import monotonic
from types import NoneType
from typing import Any

from rnn_backends.core.messages import got, short, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.files import replaced
from rnn_backends.formats.source import opened

NAME = "manifest.json"
FORMAT = 1
"""The number of the layout of a manifest; a newer one is refused."""
SHARE = 20
"""The share of the time that writing the manifest may take, while outputs are made, is one part of so many."""
Entry = Mapping[str, Any]


def digest_of_settings(settings: Mapping[str, Any]) -> str:
    """Return a digest of what outputs depend on beside their inputs."""
    return sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


class Manifest:
    """What a folder holds, by the names of its outputs; it has no times, so that the same outputs have the same one.

    Parameters
    ----------
    folder : Path
        The folder, of whose manifest, if there is one, this goes on.

    Raises
    ------
    FormatError
        There is a file of that name, and it is no manifest.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._settings: dict[str, Any] = {}
        self._files: dict[str, Entry] = {}
        self._due = self._cost = 0.0
        if self._path.exists():
            self._read()

    def _read(self) -> None:
        with opened(self._path) as source:
            try:  # which may be of any size, and is of this command: the limits for files of others are not for it
                held = json.loads(source.look(0, source.size))
            except (ValueError, RecursionError) as error:
                msg = f"it is no JSON: {short(error)}; move it away, and all outputs are made again."
                raise FormatError(msg) from error
            if (number := held.get("format") if isinstance(held, dict) else None) != FORMAT:
                newer = isinstance(number, int) and number > FORMAT
                way = "update rnn-backends" if newer else "give another --output-dir, or move it away"
                msg = f"it is no manifest of outputs in format {FORMAT}, but {got(number)}; {way}."
                raise FormatError(msg)
            settings, files = held.get("settings"), held.get("files")
            if not (isinstance(settings, dict) and isinstance(files, dict)) or not _are_objects(settings.values()):
                msg = "it must have the objects 'settings' and 'files'; move it away, and all outputs are made again."
                raise FormatError(msg)
            for name, entry in files.items():
                if not is_entry(entry) or entry["settings"] not in settings:
                    msg = f"its entry {shown(name)} is damaged; move it away, and all outputs are made again."
                    raise FormatError(msg)
        self._settings, self._files = settings, files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def others(self, names: Collection[str]) -> list[str]:
        """Return the whole outputs but those of some names; of others that failed, or are gone, nothing is kept."""
        others = [name for name in self._files if name not in names]
        for name in others:
            if "failed" in self._files[name] or not (self._path.parent / name).exists():
                del self._files[name]
        return sorted(name for name in others if name in self._files)

    def digests(self, name: str, settings: str) -> Mapping[str, str] | None:
        """Return the digests of the input and of the whole output of that name, made by the same settings."""
        entry = self._files.get(name)
        if entry is None or "failed" in entry or entry["settings"] != settings:
            return None
        return {part: entry[part]["sha256"] for part in ("input", "output")}

    def differing(self, name: str, settings: Mapping[str, Any]) -> list[str]:
        """Return the names of the settings in which the whole output of that name is not what is asked for."""
        entry = self._files.get(name)
        if entry is None or "failed" in entry:
            return []
        before = self._settings[entry["settings"]]
        return [each for each in settings if before.get(each) != settings[each]]

    def entry(self, name: str) -> Entry:
        """Return what is recorded of an output."""
        return self._files[name]

    def record(self, name: str, entry: Entry, settings: Mapping[str, Any]) -> None:
        """Record what became of an output, and write the manifest if it is time."""
        key = digest_of_settings(settings)
        self._settings[key] = settings
        self._files[name] = {**entry, "settings": key}
        if monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Write the manifest, whole or not at all; an output has a line."""
        begun = monotonic()
        used = {entry["settings"] for entry in self._files.values()}
        settings = {key: self._settings[key] for key in sorted(used)}
        with replaced(self._path) as file:
            text = f'{{\n"format": {FORMAT},\n"settings": {_lines(settings)},\n"files": {_lines(self._files)}\n}}\n'
            file.write(text.encode())
        cost = monotonic() - begun
        self._due = monotonic() + SHARE * cost


def _lines(held: Mapping[str, Any]) -> str:
    lines = (f"{json.dumps(key)}: {json.dumps(held[key], sort_keys=True)}" for key in sorted(held))
    return "{\n" + ",\n".join(lines) + "\n}"


def is_entry(entry: Any) -> bool:
    """Return whether a value is an entry of a manifest."""
    if not isinstance(entry, dict) or not isinstance(entry.get("settings"), str):
        return False
    if isinstance(entry.get("failed"), str):
        return True
    if "judged" in entry and not isinstance(entry.get("cross_entropy", ""), (int, float, NoneType)):
        return False
    numbers = ("sequences", "steps", *(("judged", "right") if "judged" in entry else ()))
    return all(_is_digest(entry.get(part)) for part in ("input", "output")) and all(
        isinstance(entry.get(name), int) for name in numbers
    )


def _are_objects(values: Iterable[Any]) -> bool:
    return all(isinstance(each, dict) for each in values)


def _is_digest(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("sha256"), str) and isinstance(part.get("bytes"), int)
