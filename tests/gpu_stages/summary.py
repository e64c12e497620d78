"""The summary of what was found: whether each kernel may be trusted, what was not run, how fast it is beside the goals."""

from collections.abc import Iterator, Sequence

from gpu_stages import names
from gpu_stages.findings import REFUSED, RIGHT, Finding, Findings
from gpu_stages.fits import fits, worded
from gpu_stages.processes import TIMEOUT
from gpu_stages.tables import aligned, goals_table, host_calls, speed_table, speeds

FASTER = 1.3
"""How many times the speed of the best other kernel one must have at some shape to be worth trusting."""

RULE = f"""\
Trust a kernel if smoke, features and stress pass, and selfcheck (the package's own check; of grid also that it is sweep, bit
for bit, beside traffic), memcheck is clean, and it is at least {FASTER:g} times as fast as the best other kernel at some shape.
"-": was not run, or is not for this kernel."""

CUT = "cut short"
"""What the state of jobs that a limit has ended begins with."""

HEAD = ["kernel", "smoke", "features", "stress", "selfcheck", "memcheck", "racecheck", "verdict"]


def summary(findings: Findings) -> str:
    """Return the whole of it, as text."""
    found = findings.read()
    parts = [
        header(found),
        kernel_table(findings),
        RULE,
        selfchecked(found),
        speed_table(found),
        sparse_table(found),
        constants_table(found),
        worded(fits(found)),
        unrun(findings),
        goals_table(found),
        host_calls(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def header(found: Sequence[Finding]) -> str:
    """Name the device and the versions, and say what the figures mean."""
    lines = (
        ["Tiny shapes: the figures below mean nothing."] if any(one.get("sizes") == "quick" for one in found) else []
    )
    lines += devices(found)
    for one in found:
        lines += one["missing"] if one.get("stage") == "about" and "missing" in one else []
    if not devices(found):
        lines.append("No device was found: nothing ran; see logs.txt.")
    return "\n".join(dict.fromkeys(lines))


def devices(found: Sequence[Finding]) -> list[str]:
    """Name the devices, their driver and the versions."""
    named = [{**one["device"], **one["versions"]} for one in found if "device" in one]
    return list(dict.fromkeys(", ".join(f"{name} {value}" for name, value in one.items()) for one in named))


def kernel_table(findings: Findings) -> str:
    """Return the table of what each kernel passed; nothing if none began."""
    rows = kernel_rows(findings)
    return aligned(rows) if len(rows) > 1 else ""


def kernel_rows(findings: Findings) -> list[list[str]]:
    """Return the rows of that table, the first being the names of the columns."""
    codes = {stage: findings.codes(stage) for stage in ("smoke", "features", "stress", "selfcheck", "tools")}
    kernels = [name for name in codes["smoke"] if name != names.OFF]
    best = speeds(findings.read("bench"))
    rows = [HEAD]
    for kernel in kernels:
        states = {
            "smoke": state({kernel: codes["smoke"][kernel]}),
            "features": state({job: code for job, code in codes["features"].items() if job.split()[0] == kernel}),
            "stress": state({job: code for job, code in codes["stress"].items() if job == kernel}),
            "selfcheck": state({job: code for job, code in codes["selfcheck"].items() if job.split(":")[0] == kernel}),
            **{
                tool: state({job: code for job, code in codes["tools"].items() if job == f"{tool} {kernel}"})
                for tool in ("memcheck", "racecheck")
            },
        }
        rows.append([kernel, *states.values(), verdict(kernel, states, best.get(kernel, {}))])
    return rows


def selfchecked(found: Sequence[Finding]) -> str:
    """Say what the comparison of grid with sweep was made of."""
    walks = [one for one in found if one.get("stage") == "selfcheck" and "mismatches" in one]
    if not walks:
        return ""
    mismatches, beside = sum(one["mismatches"] for one in walks), sum(one["overlapped"] for one in walks)
    return f"selfcheck: {mismatches} mismatches in {len(walks)} walks, {beside} of them beside traffic to their end"


def state(codes: dict[str, int | str]) -> str:
    """Word how some jobs ended: those that the device or the versions refuse count for nothing.

    One that was ended because its time was over is no failure.
    """
    counted = {job: code for job, code in codes.items() if code != REFUSED}
    if not codes:
        return "-"
    if not counted:
        return "refused"
    if failed := [job for job, code in counted.items() if code not in {RIGHT, TIMEOUT}]:
        return f"FAILED {len(failed)}/{len(counted)}"
    cut = [job for job, code in counted.items() if code == TIMEOUT]
    return f"{CUT} {len(cut)}/{len(counted)}" if cut else "passed"


def verdict(kernel: str, states: dict[str, str], faster: dict[str, float]) -> str:
    """Word whether a kernel may be trusted, by the rule."""
    if states["smoke"] == "refused":
        return "does not run here"
    needed = ["smoke", "features", *(["stress"] if kernel in names.WHOLE else [])]
    needed += ["selfcheck", "memcheck"]
    if wrong := [part for part in (*needed, "racecheck") if states[part].startswith("FAILED")]:
        return f"DO NOT TRUST: {', '.join(wrong)}"
    if is_open := "; ".join(opened({part: states[part] for part in needed})):
        return f"open: {is_open}"
    if not faster:
        return "right; its speed was not measured"
    shape, most = max(faster.items(), key=lambda item: item[1])
    at = f"{most:.2f} times the speed of the best other kernel at {shape}"
    if most >= FASTER:
        return f"TRUST: right, {at} ({sum(ratio >= FASTER for ratio in faster.values())} of {len(faster)} shapes)"
    return f"right; at best {at}"


def opened(states: dict[str, str]) -> Iterator[str]:
    """Word what of that which a verdict needs was not run, or not to its end."""
    cut = [part for part, state in states.items() if state.startswith(CUT)]
    unrun = [part for part, state in states.items() if state != "passed" and part not in cut]
    for parts, word in ((unrun, "not run"), (cut, CUT)):
        if parts:
            yield f"{', '.join(parts)} {word}"


def sparse_table(found: Sequence[Finding]) -> str:
    """Return the table of sparse weights beside dense ones."""
    rows = [["sparse W_hh: H", "B", "entries a row", "us a step", "of dense", "times as fast as dense"]]
    for one in (held["sparse"] for held in found if "us_step_of" in held.get("sparse", ())):
        (_, batch, _, size), times, late = one["shape"], one["us_step_of"], one["launch_bound"]
        us = [f"{times[name]:.3g}{'*' * (name in late)}" for name in ("sparse", "dense")]
        rows.append([str(size), str(batch), str(one["entries"]), *us, f"{times['dense'] / times['sparse']:.2f}"])
    return aligned(rows) if len(rows) > 1 else ""


def constants_table(found: Sequence[Finding]) -> str:
    """Return the table of what plan.py guesses: the seconds of a step by kernel, and its estimates."""
    measured = {(one["H"], one["B"], one["kernel"]): one for one in found if "us_step" in one}
    clock = next((one["clock_khz"] for one in reversed(found) if "clock_khz" in one), None)
    kernels = list(dict.fromkeys(kernel for *_, kernel in measured))
    rows = [["H", "B", *kernels]]
    for size, batch in dict.fromkeys((size, batch) for size, batch, _ in measured):
        row = [measured.get((size, batch, kernel)) for kernel in kernels]
        rows.append([str(size), str(batch), *("-" if one is None else constant(one, clock) for one in row)])
    legend = (
        "us a step on the device / by plan.py's estimate at the highest clock / on the host; *: waited for launches."
    )
    return f"{aligned(rows)}\n{legend}" if measured else ""


def constant(one: Finding, clock_khz: int | None) -> str:
    """Word the times of a step: measured, estimated, and on the host."""
    clocks = one["clocks_step_estimated"]
    estimated = "?" if clocks is None or not clock_khz else f"{1e3 * clocks / clock_khz:.3g}"
    return f"{one['us_step']:.3g}{'*' * one['launch_bound']} / {estimated} / {one['host_us_step']:.3g}"


def unrun(findings: Findings) -> str:
    """List what ended otherwise than well when it last ran, and what was never run."""
    return "\n".join(dict.fromkeys(_unrun(findings)))


def _unrun(findings: Findings) -> Iterator[str]:
    found, last_of_tools = findings.read(), findings.codes("tools")
    for one in found:
        is_refuted = last_of_tools.get(one.get("control", "")) == RIGHT
        if one.get("stage") in {"tools", "rest"} and "missing" in one and not is_refuted:
            yield f"not run: {one['stage']}: {one['missing']}"
    controls = {one["control"] for one in found if "control" in one}
    stages = list(dict.fromkeys(one["stage"] for one in found if "stage" in one))
    codes = {stage: findings.codes(stage) for stage in stages}
    for stage in stages:
        lasts = {one["job"]: one for one in found if one.get("stage") == stage and "code" in one}
        for job, code in codes[stage].items():
            if code != RIGHT and job not in controls:
                word = {REFUSED: "refused", TIMEOUT: "cut short"}.get(code, "FAILED")
                yield f"{word}: {stage}: {job}: {code}: {lasts[job]['last']}"
        skipped = [job for one in found if one.get("stage") == stage for job in one.get("skipped", ())]
        yield from (f"not run: {stage}: {job}: no time was left" for job in skipped if job not in codes[stage])
