"""The tables of what bench measured: the kernels beside the default, and this library beside torch and the goals."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from gpu_stages import names
from gpu_stages.findings import Finding

Cell = dict[str, Any]


def cells(found: Sequence[Finding], clock: str = "device") -> list[Cell]:
    """Return what bench measured by a clock, the latest for each shape."""
    some = [one["cell"] for one in found if "cell" in one and one["cell"]["clock"] == clock]
    return list({shape_of(cell): cell for cell in some}.values())


def shape_of(cell: Cell) -> str:
    """Word the problem of a cell."""
    problem = cell["problem"]
    sizes = " ".join(f"{letter}={problem[name]}" for letter, name in
                     (("T", "seq_len"), ("B", "batch"), ("I", "input_size"), ("H", "hidden_size")))  # fmt: skip
    return f"{sizes} {problem['dtype']}"


def ratios(cell: Cell) -> dict[str, float]:
    """Return the time of each other contestant in units of the default's; of none where that was not timed."""
    found = names.harness("timing").ratios(cell["seconds"], names.goals().OWN)
    return {name: quartiles.median for name, quartiles in found.items()}


def speeds(found: Sequence[Finding]) -> dict[str, dict[str, float]]:
    """Return the speed of each kernel in units of the best other one's, by kernel and shape, on the device."""
    by_name: dict[str, dict[str, float]] = {}
    regimes = names.kernels("plan").REGIMES
    for cell in cells(found):
        seconds = {name: median(times) for name, times in cell["seconds"].items() if name in regimes}
        for name, own in seconds.items():
            if others := [time for other, time in seconds.items() if other != name]:
                by_name.setdefault(name, {})[shape_of(cell)] = min(others) / own
    return by_name


def speed_table(found: Sequence[Finding]) -> str:
    """Return the table of bench: the default's time of a step, and the others' times in units of it."""
    some, own = cells(found), names.goals().OWN
    if not some:
        return ""
    others = [name for name in dict.fromkeys(name for cell in some for name in cell["asked"]) if name != own]
    rows = [["shape", "us a step", "error", *others]]
    for cell in some:
        waited, found_ratios = cell["launch_bound"], ratios(cell)
        shown = {name: f"{ratio:.2f}" + "*" * (name in waited) for name, ratio in found_ratios.items()}
        shown |= dict.fromkeys(cell["failed"], "FAILED")
        error = cell["excess"].get(own)
        rows.append([
            shape_of(cell), step_of(cell), "-" if error is None else f"{error:.2g}",
            *(shown.get(name, "-") for name in others),
        ])  # fmt: skip
    legend = [
        "Columns of other names: their time / the default's, above 1 the default is faster; *: waited for launches."
    ]
    failed = [f"FAILED: {shape_of(cell)}: {name}: {why}" for cell in some for name, why in cell["failed"].items()]
    return "\n".join([aligned(rows), *legend, *failed])


def step_of(cell: Cell) -> str:
    """Word the default's time of a step in microseconds."""
    own = names.goals().OWN
    if own not in cell["seconds"]:
        return "-"
    step = 1e6 * median(cell["seconds"][own]) / cell["problem"]["seq_len"]
    return f"{step:.3g}" + "*" * (own in cell["launch_bound"])


def cells_by_row(found: Sequence[Finding]) -> dict[str, list[Cell]]:
    """Return what bench measured, by row of the goals."""
    by_row: dict[str, list[Cell]] = {}
    for one in found:
        if "cell" in one:
            by_row.setdefault(one["row"], []).append(one["cell"])
    return by_row


def goals_table(found: Sequence[Finding]) -> str:
    """Return the table of torch's time / ours, by shape, beside the goals; and what was not measured of it."""
    goals, by_row = names.goals(), cells_by_row(found)
    rows = [["goals: torch / ours", "shape", "device", "a call", "must", "aim", "reached", "error", "torch's"]]
    counted = []
    for name, row in goals.ROWS.items():
        for pair in goals.by_problem(by_row.get(name, [])):
            judged, some = goals.judged(row.must, row.aim, pair), pair["call"]
            ratios_shown = [
                f"{judged.ratios[clock]:.2f}" if clock in judged.ratios else "-" for clock in ("device", "call")
            ]
            errors = [some["excess"].get(who) for who in (goals.OWN, goals.TORCH)]
            rows.append([
                name, shape_of(some), *ratios_shown, f"{row.must:g}", f"{row.aim:g}", judged.reached,
                *("-" if error is None else f"{error:.2g}" for error in errors),
            ])  # fmt: skip
            counted.append(judged)
        if name not in by_row:
            rows.append([name, "not measured", "-", "-", f"{row.must:g}", f"{row.aim:g}", *"---"])
    return f"{aligned(rows)}\n{counts(counted)} The slower of both clocks counts; up to {goals.SHORT} steps, the call."


def host_calls(found: Sequence[Finding]) -> str:
    """Return a line of the host's time of a short call, by kernel and problem, beside the goal; nothing if none is known."""
    goal = names.goals().HOST_US
    calls = {(one["kernel"], one["problem"]): one["host_us_call"] for one in found if "host_us_call" in one}
    words = [f"{kernel} {us:.3g} us{'' if us <= goal else ' (not)'} at {what}" for (kernel, what), us in calls.items()]
    return f"The host's time of a short call, at most {goal:g} us: {', '.join(words)}." if words else ""


def counts(judged: Sequence[Any]) -> str:
    """Say how many shapes reach the goals."""
    known = [one for one in judged if one.missed is not None]
    reach = sum(not {"must", "right"} & set(one.missed) for one in known)
    slower = sum("**as fast as torch**" in one.missed for one in known)
    return f"Of {len(known)} shapes {reach} reach what they must; torch is faster at {slower}."


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return the lines of a table, its columns as wide as they must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
