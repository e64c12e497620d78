"""The first minutes on a GPU: `python tests/gpu_first.py OUT`, from a checkout, without installing the package.

Stages run in order, each in processes of its own with a limit of its own, so that a fault in one kernel costs nothing
else.  OUT holds findings.jsonl (a line a finding, written at once), logs.txt (of all processes) and summary.txt, which
ends with the table of the goals.  A call takes 8 minutes at most, unless --limit says otherwise, in which all is done that
shows whether a kernel may be trusted and where it stands; another, `--from more` into the same OUT, or a copy of it on
another machine, measures what is left.  Nothing is run again that ended well.

It needs CuPy, NumPy and array-api-compat; torch to compare with; pytest and what the tests import for the stage rest.
`python -m gpu_stages.wheels DIR`, in tests/, fetches wheels of what a machine without network lacks, for --wheels DIR.
`python tests/gpu_pages.py OUT` then writes what was found into docs/ and plan.py.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from gpu_stages import names
from gpu_stages.context import Batch, Context
from gpu_stages.findings import RIGHT, Findings
from gpu_stages.needs import consequences, install, missing
from gpu_stages.processes import Ended, together
from gpu_stages.stages import STAGES, Stage
from gpu_stages.summary import summary

FINDINGS = "findings.jsonl"
SITE = "site"
"""The folder of a call for what --wheels brings."""
LIMIT, MOST = 480.0, 580.0
"""The seconds of a call by default, and at most."""
LEAST = 2.0
"""The seconds that must be left for a batch to begin."""
LOGGED = 20_000
"""The characters of a log that are kept: the first and the last half of them."""


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, stages = parser.add_argument, [stage.name for stage in STAGES]
    add("out", metavar="OUT", type=Path, help="the folder of the results; it is made if it is not there")
    add("--from", dest="first", choices=stages, metavar="STAGE", help=f"begin with one of: {', '.join(stages)}")
    add(
        "--limit",
        type=float,
        default=LIMIT,
        metavar="SECONDS",
        help=f"of this call; default: {LIMIT:g}, at most {MOST:g}",
    )
    add("--wheels", type=Path, metavar="DIR", help="a folder of wheels, from which pip installs what is missing")
    add("--quick", action="store_true", help="two kernels and tiny shapes: whether it works; the figures mean nothing")
    given = parser.parse_args()
    if not 0 < given.limit <= MOST:
        parser.error(f"--limit must be more than 0 and at most {MOST:g} seconds; got {given.limit:g}")
    if given.wheels is not None and not given.wheels.is_dir():
        parser.error(f"--wheels must be a folder; there is none at {given.wheels}")
    return given


class Call:
    """One call of this script: its time, and the folder that it writes to."""

    def __init__(self, out: Path, limit: float) -> None:
        self.deadline = time.monotonic() + limit
        self.out, self.findings = out, Findings(out / FINDINGS)

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self.deadline - time.monotonic()

    def run(self, stage: Stage, context: Context) -> bool:
        """Run a stage, and return whether there was time for all of it."""
        ends, done = time.monotonic() + stage.seconds, context.passed(stage.name)
        for batch in stage.batches(context):
            jobs = [job for job in batch if job.again or job.name not in done]
            room = min(stage.batch_seconds, ends - time.monotonic(), self.left, *(job.seconds for job in jobs))
            if jobs and room < LEAST:
                self.findings.add(stage=stage.name, skipped=[job.name for job in jobs], why="no time is left")
                return False
            self.together(stage, jobs, room, context.folder)
        return self.left > LEAST

    def together(self, stage: Stage, jobs: Batch, seconds: float, folder: Path) -> None:
        """Run jobs at once, and write down how each ended."""
        for ended in together(jobs, seconds, folder, names.ROOT):
            self.write(stage.name, ended)

    def write(self, stage: str, ended: Ended) -> None:
        """Write down how a job ended, and what it wrote."""
        lines, job = ended.text.strip().splitlines(), ended.job
        text = (
            ended.text
            if len(ended.text) <= LOGGED
            else f"{ended.text[: LOGGED // 2]}\n[...]\n{ended.text[-LOGGED // 2 :]}"
        )
        with (self.out / "logs.txt").open("a", encoding="utf-8") as file:
            file.write(f"===== {stage}: {job.name}: {ended.code}, {ended.seconds:.1f} s\n{text}\n")
        last = lines[-1][:300] if lines else ""
        self.findings.add(stage=stage, job=job.name, code=ended.code, seconds=round(ended.seconds, 1), last=last)
        print(f"{stage}: {job.name}: {ended.code} ({ended.seconds:.1f} s) {last[:120]}", flush=True)

    def summarize(self) -> str:
        """Write the summary of all that was found, and return it."""
        text = summary(self.findings)
        (self.out / "summary.txt").write_text(text, encoding="utf-8")
        return text


def prepare(call: Call, wheels: Path | None, site: Path) -> frozenset[str] | None:
    """Return the modules that are missing, after installing those there are wheels of; None if nothing can run.

    They go to the folder `site`, on the path of all processes.
    """
    if wheels is not None:
        for distribution in missing().values():
            call.findings.add(
                stage="about", wheel=distribution, outcome=install(distribution, wheels, site, max(call.left, 1.0))
            )
    absent = missing()
    if absent:
        told = consequences(absent)
        call.findings.add(stage="about", missing=told)
        print("\n".join(told), flush=True)
    return None if names.REQUIRED.keys() & absent else frozenset(absent)


def run(call: Call, context: Context, first: str | None) -> str | None:
    """Run the stages from one on, the first of all if it has yet to end well; return one that there was no time for."""
    order, incomplete = [stage.name for stage in STAGES], None
    later = STAGES[1 if first is None else max(1, order.index(first)) :]
    for stage in (STAGES[0], *later):
        if not call.run(stage, context):
            incomplete = incomplete or stage.name
        call.summarize()
        if "versions" not in context.passed("about"):
            break  # without a GPU nothing else can run
    return incomplete


def interrupted(*_: object) -> None:
    """End as if interrupted from the keyboard, so that what was started ends, too."""
    raise KeyboardInterrupt


def begin(folder: Path) -> None:
    """Have this process and all others import from the checkout and the folder of a call, and keep verdicts there."""
    (folder / SITE).mkdir()
    paths = [*map(str, names.PATH), str(folder / SITE)]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["RNN_CACHE_DIR"] = str(folder / "cache")  # what a process has checked no other checks again


def main() -> int:
    given = parsed()
    signal.signal(signal.SIGTERM, interrupted)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.first is None and (given.out / FINDINGS).exists():
        print(f"{given.out} holds findings: go on with --from STAGE, or name another folder", file=sys.stderr)
        return 2
    call = Call(given.out.resolve(), given.limit)
    call.findings.mend()
    sizes = "quick" if given.quick else "full"
    call.findings.add(call=sys.argv[1:], sizes=sizes)
    with tempfile.TemporaryDirectory(prefix="gpu-first-") as temporary:
        folder = Path(temporary)
        begin(folder)
        absent = prepare(call, given.wheels, folder / SITE)
        if absent is None:
            return 1
        processors = len(os.sched_getaffinity(0))
        goes_on = run(call, Context(call.findings, sizes, folder, absent, processors), given.first)
    print(f"\n{call.summarize()}")
    if goes_on is not None:
        print(
            f"Not all was run in {given.limit:g} s; go on with: python tests/gpu_first.py {given.out} --from {goes_on}"
        )
    return 0 if goes_on is None and call.findings.codes("about").get("versions") == RIGHT else 1


if __name__ == "__main__":
    sys.exit(main())
