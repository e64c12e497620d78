"""The constants of plan.py and tensor.py as they were measured: fitted, worded, and put into their text.

Each is fitted to the steps of one kernel, or form of one, by least squares of relative errors, from the estimate with the
value that stands there and its slope; the constants that an earlier kernel was fitted by are then as fitted.  The launches
are what the host, or the device, took for them.
"""

import re
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from gpu_stages.findings import Finding
from gpu_stages.names import FITTED, LAUNCHES, LAUNCHING, PLAN, RATE, TENSOR, TENSOR_CORES

ROUNDED = 2
"""The digits of a constant that mean something."""


class Fit(NamedTuple):
    """A constant in clocks: what plan.py has, what was measured, and of what."""

    name: str
    before: float
    now: float
    of: str


def fits(found: Sequence[Finding]) -> list[Fit]:
    """Return the constants that can be fitted to what was found."""
    clock_khz = next((one["clock_khz"] for one in reversed(found) if one.get("clock_khz")), None)
    latest = {(one["kernel"], one["H"], one["B"]): one for one in found if "us_step" in one and "slopes" in one}
    if clock_khz is None:
        return []
    steps = list(latest.values())
    done = launches(steps, 1e-3 * clock_khz)
    for kernel in FITTED:
        done += fitted(kernel, steps, clock_khz, {fit.name: fit.now - fit.before for fit in done})
    return done


def launches(steps: Sequence[Finding], clocks_us: float) -> list[Fit]:
    """Return the clocks of a launch, and of a product, which the kernel named for it does before each launch."""
    done, before = [], 0.0
    for name, kernel in zip(LAUNCHES, LAUNCHING, strict=True):
        some = [one for one in steps if one["kernel"] == kernel]
        if not some:
            break
        device = [one["us_step"] for one in some if not one["launch_bound"]]
        us = max(median(one["host_us_step"] for one in some), min(device, default=0.0))
        value, of = us * clocks_us - before, f"{kernel}: {us:.3g} us a step of {len(some)} shapes"
        before += value
        done.append(Fit(name, some[-1]["constants"][name], rounded(value), of))
    return done


def fitted(kernel: str, steps: Sequence[Finding], clock_khz: int, changes: Mapping[str, float]) -> list[Fit]:
    """Return the constants of a kernel's step, given the changes of others."""
    some = [one for one in steps if one["kernel"] == kernel and not one["launch_bound"] and one["us_step"] > 0]
    names = FITTED[kernel]
    some = [one for one in some if all(one["slopes"].get(name) is not None for name in names)]
    if len(some) < len(names):
        return []
    clocks = np.array([1e-3 * one["us_step"] * clock_khz for one in some])
    slopes = np.array([[one["slopes"][name] for name in names] for one in some])
    before = np.array([some[-1]["constants"][name] for name in names], float)
    others = [sum(change * (one["slopes"].get(name) or 0.0) for name, change in changes.items()) for one in some]
    rest = np.array([one["clocks_step_alone"] for one in some]) + others - slopes @ before
    now = solved(slopes / clocks[:, None], (clocks - rest) / clocks, before)
    off = (rest + slopes @ now) / clocks
    of = f"{kernel}: {len(some)} shapes, estimates then {off.min():.2f} to {off.max():.2f} of what was measured"
    return [fit(name, old, new, of, some[-1]) for name, old, new in zip(names, before, now, strict=True)]


def fit(name: str, before: float, now: float, of: str, one: Finding) -> Fit:
    """Return a constant as it stands in its file: a rate, rather than the clocks of a thousand multiplications."""
    if name != RATE:
        return Fit(name, before, rounded(now), of)
    return Fit(f"{name}[{one['capability']}]", 1000.0 / before, rounded(1000.0 / (now or before)), of)


def solved(slopes: Any, wanted: Any, before: Any) -> Any:
    """Return the constants, none of them negative, that come closest; what they leave open is as before."""
    now, free = before.copy(), np.ones(len(before), bool)
    while free.any():
        change = np.linalg.lstsq(slopes[:, free], wanted - slopes @ now, rcond=1e-6)[0]
        now[free] += change
        if (now >= 0.0).all():
            break
        free &= now > 0.0
        now = np.where(free, now, 0.0)
    return now


def rounded(value: float) -> float:
    """Round to the digits that mean something; to 0 what is less than a clock."""
    return float(f"{max(value, 0.0):.{ROUNDED}g}") if value >= 1.0 else 0.0


def worded(some: Sequence[Fit]) -> str:
    """Return the lines that say what plan.py would have."""
    if not some:
        return ""
    lines = [f"{fit.name} = {written(fit.now)}  # {file_of(fit)}: {written(fit.before)}; {fit.of}" for fit in some]
    return "\n".join(["Constants of plan.py and tensor.py, in clocks, as measured:", *lines])


def file_of(fit: Fit) -> str:
    """Return the name of the file that a constant stands in."""
    return TENSOR.name if fit.name.partition("[")[0] in FITTED[TENSOR_CORES] else PLAN.name


def written(value: float) -> str:
    """Write a number of clocks as Python has it."""
    return f"{value:_.0f}"


def replaced(text: str, some: Sequence[Fit], file: str = PLAN.name) -> str:
    """Return the text of a file with other constants, which stand there as `A = 1`, `A, B = 1, 2` or `A = {90: 1}`.

    Raises
    ------
    ValueError
        One of them does not stand there.
    """
    values = {fit.name: written(fit.now) for fit in some if file_of(fit) == file}

    def line(match: re.Match[str]) -> str:
        names, old = (part.split(", ") for part in match.groups())
        new = [values.pop(name, value) for name, value in zip(names, old, strict=True)]
        return f"{', '.join(names)} = {', '.join(new)}"

    def items(match: re.Match[str]) -> str:
        name, inside = match.groups()
        pairs = (pair.split(": ") for pair in inside.split(", "))
        new = [f"{key}: {values.pop(f'{name}[{key}]', value)}" for key, value in pairs]
        more = [other for other in values if other.startswith(f"{name}[")]
        new += [f"{other[len(name) + 1 : -1]}: {values.pop(other)}" for other in more]
        return f"{name} = {{{', '.join(new)}}}"

    text = re.sub(r"^([A-Z_]+) = \{(\d+: [\d_]+(?:, \d+: [\d_]+)*)\}$", items, text, flags=re.MULTILINE)
    text = re.sub(r"^([A-Z_]+(?:, [A-Z_]+)*) = ([\d_.]+(?:, [\d_.]+)*)$", line, text, flags=re.MULTILINE)
    if values:
        msg = f"{file} has no line that sets {', '.join(values)}"
        raise ValueError(msg)
    return text
