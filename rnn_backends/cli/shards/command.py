"""The command `run` over many inputs."""

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from rnn_backends.cli.process import EndedError
from rnn_backends.cli.progress import progress
from rnn_backends.cli.reports import one_line
from rnn_backends.cli.shards.crew import Answer, Crew
from rnn_backends.cli.shards.folder import WORK, claimed, ignores_case, new_part
from rnn_backends.cli.shards.inputs import Word, inputs_of, require_apart, require_outside
from rnn_backends.cli.shards.manifest import NAME, Manifest, digest_of_settings
from rnn_backends.cli.shards.request import Shard, jobs_of, require_many, settings_for, settings_of, shards_of
from rnn_backends.cli.shards.summary import Summary
from rnn_backends.cli.shards.worker import Task
from rnn_backends.core.messages import listed, shown_path
from rnn_backends.formats.files import writing

TRIES = 3
"""How often an input is tried whose process ends: after the first time alone, where there is the most memory."""
SAID = 20
"""The failures that are told one by one; one mistake may fail all inputs alike."""
Note = Callable[[str], None]


def run_many(arguments: Namespace, note: Note) -> Summary:
    """Make the outputs of all inputs that are not there, and return what became of them.

    Parameters
    ----------
    arguments : Namespace
        Those of the command line.
    note : callable
        Takes remarks, and failures as they come.

    Raises
    ------
    argparse.ArgumentError
        The options do not go together, or not with an input.
    RNNBackendError, OSError
        The model or a pattern is wrong, or the folder cannot be used; what is wrong with one input is not raised.
    """
    require_many(arguments)
    words, folder = [Word(path) for path in arguments.inputs], arguments.output_dir
    inputs = inputs_of(words)
    shards = shards_of(arguments, inputs)
    names = {shard.output: shard.input for shard in shards}
    with claimed(folder, note) as work:
        require_apart(names, (NAME, WORK), ignores_case=ignores_case(work))
        manifest = Manifest(folder)
        require_outside(words, inputs, {*names, *manifest, NAME}, folder)
        with Crew(arguments.words) as crew:
            run = Run(arguments, crew.facts(), manifest, note)
            try:
                run.over(shards, crew, work)
            finally:
                manifest.write()
    return run.summary


class Run:
    """A run over many inputs.

    Parameters
    ----------
    arguments : Namespace
        Those of the command line.
    facts : dict
        What a process says of the model.
    manifest : Manifest
    note : callable
        Takes remarks, and failures as they come.
    """

    def __init__(self, arguments: Namespace, facts: Answer, manifest: Manifest, note: Note) -> None:
        self._folder: Path = arguments.output_dir
        self._manifest, self._note, self._is_quiet = manifest, note, arguments.quiet
        self._settings = settings_of(arguments, facts)
        self._noted: set[str] = set()
        self.summary = Summary(model=arguments.model, folder=self._folder, jobs=jobs_of(arguments), facts=facts)

    def over(self, shards: Sequence[Shard], crew: Crew, work: Path) -> None:
        """Make the outputs that are not there, those of the largest inputs first."""
        summary = self.summary
        summary.inputs, summary.left = len(shards), self._manifest.others({shard.output for shard in shards})
        if summary.left:
            what = listed(summary.left)
            self._say(f"outputs of other inputs or formats are left in '{shown_path(self._folder)}': {what}")
        differing = [self._manifest.differing(each.output, settings_for(each, self._settings)) for each in shards]
        if any(differing):
            what = ", ".join(sorted({name for names in differing for name in names}))
            self._say(f"changed since the last time: {what}; outputs that are made again: {sum(map(bool, differing))}")
        begun = monotonic()
        with progress(str(self._folder), len(shards), "files", quiet=self._is_quiet) as report:
            for count, (shard, answer) in enumerate(self._answers(shards, crew, work), 1):
                self._take(shard, answer)
                report(count)
        summary.seconds = monotonic() - begun
        for shard in shards:
            summary.add(self._manifest.entry(shard.output))

    def _say(self, text: str) -> None:
        """Make a remark, once."""
        if not self._is_quiet and text not in self._noted:
            self._noted.add(text)
            self._note(text)

    def _answers(self, shards: Sequence[Shard], crew: Crew, work: Path) -> Iterator[tuple[Shard, Answer]]:
        """Yield what became of each input; one whose process ended is tried again when the others are done."""
        left = sorted(shards, key=_size, reverse=True)
        for tried in range(1, TRIES + 1):
            asked = {str(new_part(work)): shard for shard in left}
            tasks = [self._task(shard, part) for part, shard in asked.items()]
            left = []
            for task, answer in crew.answers(tasks, self.summary.jobs if tried == 1 else 1):
                shard = asked[task.part]
                if isinstance(answer, EndedError):
                    with suppress(OSError):
                        Path(task.part).unlink()
                    left.append(shard)
                    if tried == TRIES:
                        reason = f"{TRIES} processes ended at it, as where memory is short; the last {answer.how}."
                        yield shard, {"entry": {"failed": reason}}
                    continue
                yield shard, answer if "failed" in answer.get("entry", {}) else self._placed(task, answer)

    def _task(self, shard: Shard, part: str) -> Task:
        known = self._manifest.digests(shard.output, digest_of_settings(settings_for(shard, self._settings)))
        return Task(str(shard.input), str(self._folder / shard.output), part, known)

    def _placed(self, task: Task, answer: Answer) -> Answer:
        """Put an output that was made to its place, and return what became of it."""
        if "kept" in answer:
            return answer
        output = Path(task.output)
        try:
            with writing(output):
                output.parent.mkdir(parents=True, exist_ok=True)
                Path(task.part).replace(output)
        except OSError as error:
            return {"entry": {"input": answer["entry"]["input"], "failed": one_line(error)}}
        return answer

    def _take(self, shard: Shard, answer: Mapping[str, Any]) -> None:
        """Count and record what became of an input."""
        summary, name = self.summary, shown_path(shard.input)
        for text in answer.get("notes", ()):
            self._say(f"{name}: {text}")
        if "kept" in answer:
            summary.kept += 1
            entry = self._manifest.entry(shard.output)
        else:
            entry = answer["entry"]
            self._manifest.record(shard.output, entry, settings_for(shard, self._settings))
        if "failed" in entry:
            reason = entry["failed"]
            summary.failed[str(shard.input)] = reason
            if len(summary.failed) <= SAID:
                self._note(reason if name in reason else f"{name}: {reason}")
            elif len(summary.failed) == SAID + 1:
                self._note(f"what else fails is in the {NAME} alone")
            return
        if "kept" not in answer:
            summary.made += 1
            summary.made_steps += entry["steps"]


def _size(shard: Shard) -> int:
    """Return the bytes of an input; one that cannot be read fails later."""
    try:
        return shard.input.stat().st_size
    except OSError:
        return 0
