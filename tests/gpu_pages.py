"""Write what `gpu_first.py` has found into the documents and the planner: `python tests/gpu_pages.py OUT`.

docs/benchmarks/gpu.md gets the table of all shapes; docs/gpu.md, between two comments, what ran where and whether each
kernel may be trusted; plan.py and tensor.py their constants as they were measured.  Nothing here needs a GPU.  What docs/gpu.md says
elsewhere is left to whoever reads the verdicts.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gpu_stages import names
from gpu_stages.findings import Finding, Findings
from gpu_stages.fits import fits, replaced, worded
from gpu_stages.summary import RULE, devices, kernel_rows
from gpu_stages.tables import cells_by_row, counts, host_calls

BEGIN, END = "<!-- gpu_pages.py: begin -->", "<!-- gpu_pages.py: end -->"
"""What stands around the part of docs/gpu.md."""


def what_ran(findings: Findings) -> str:
    """Return the part of docs/gpu.md: the devices, the verdicts and how many goals are reached."""
    found, goals = findings.read(), names.goals()
    head, *rows = kernel_rows(findings)
    by_row = cells_by_row(found)
    judged = [
        goals.judged(row.must, row.aim, pair)
        for name, row in goals.ROWS.items()
        for pair in goals.by_problem(by_row.get(name, []))
    ]
    table = [head, ["---"] * len(head), *rows]
    return "\n\n".join([
        "`tests/gpu_first.py` has run on:",
        "\n".join(f"* {device}" for device in devices(found)),
        "\n".join(f"| {' | '.join(row)} |" for row in table),
        RULE,
        *filter(None, [host_calls(found)]),
        f"{counts(judged)} [benchmarks/gpu.md](benchmarks/gpu.md) has them all.",
    ])  # fmt: skip


def between(text: str, part: str) -> str:
    """Return a text with another part between the two comments.

    Raises
    ------
    ValueError
        They are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        msg = f"{names.DOCUMENT} must hold {BEGIN} and {END}, between which this writes"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n{part}\n{END}{after}"


def written(findings: Findings, folder: Path | None) -> list[Path]:
    """Write all, into a folder where one is given, and return the names of the files."""
    found = findings.read()
    texts = {
        names.BENCHMARKS: "\n".join(names.page().lines(names.goals().ROWS, cells_by_row(found))) + "\n",
        names.DOCUMENT: between(names.DOCUMENT.read_text(encoding="utf-8"), what_ran(findings)),
    }
    texts |= {
        path: replaced(path.read_text(encoding="utf-8"), fits(found), path.name) for path in (names.PLAN, names.TENSOR)
    }
    done = []
    for path, text in texts.items():
        target = path if folder is None else folder / path.relative_to(names.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        done.append(target)
    return done


def problem_of(found: Sequence[Finding], folder: Path | None) -> str | None:
    """Return why nothing is written, None where it is."""
    if not any("device" in one for one in found):
        return "holds no findings of a device"
    if folder is None and any(one.get("sizes") == "quick" for one in found):
        return "holds figures of tiny shapes, which mean nothing: give --output DIR"
    return None


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder that gpu_first.py wrote to")
    parser.add_argument("--output", metavar="DIR", type=Path, help="write there, as in a checkout; default: this one")
    given = parser.parse_args(words)
    findings = Findings(given.out / "findings.jsonl")
    found = findings.read()
    if problem := problem_of(found, given.output):
        print(f"{given.out} {problem}", file=sys.stderr)
        return 1
    sys.path[:0] = [str(folder) for folder in names.PATH]
    for path in written(findings, given.output):
        print(f"written: {path}")
    print(worded(fits(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
