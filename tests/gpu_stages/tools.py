"""The stage of compute-sanitizer, whose tools look at each kernel."""

import shutil
from collections.abc import Iterator
from math import inf

from gpu_stages import names
from gpu_stages.context import Batch, Context, by, shapes
from gpu_stages.findings import RIGHT
from gpu_stages.processes import Job

TOOLS = {"memcheck": ("--report-api-errors", "no"), "racecheck": ()}
"""The tools that look at each kernel, and what they are given beside the rest; that CUDA refuses a call is no fault."""
CONTROL = 30.0
"""The most seconds that the equation as written may take under a tool."""
SANITIZER = "compute-sanitizer"


def tools(context: Context) -> Iterator[Batch]:
    """Yield a process for each tool of compute-sanitizer and kernel, for small cases in each dtype.

    Before them each tool looks at the equation as written, for there are machines on which no process runs under one.
    """
    sanitizer = shutil.which(SANITIZER)
    if sanitizer is None:
        context.findings.add(stage="tools", missing=f"{SANITIZER} is not on PATH; it comes with the CUDA toolkit")
        return
    alive, done = [name for name in context.kernels if name in context.passed("smoke")], context.passed("tools")
    asked = {tool: [job for name in alive if (job := under(context, sanitizer, tool, name)).name not in done]
             for tool in TOOLS}  # fmt: skip
    wanted = [tool for tool, jobs in asked.items() if jobs]
    if wanted:
        yield [under(context, sanitizer, tool, names.OFF) for tool in wanted]
    yield [job for tool in wanted if is_usable(context, tool) for job in asked[tool]]


def under(context: Context, sanitizer: str, tool: str, kernel: str) -> Job:
    """Return a process of a kernel under a tool; that of the equation as written is the tool's control."""
    sizes, is_control = context.sizes, kernel == names.OFF
    cases = shapes(kernel, sizes.tools, sizes.tools_tensor)
    checking = context.stage("check", "tools", kernel, "--dtype", *sizes.dtypes, *cases)
    return Job(
        f"{tool} {kernel}",
        [sanitizer, "--tool", tool, "--error-exitcode", "9", *TOOLS[tool], *checking],
        by(kernel),
        again=is_control,  # another call may be on another machine
        seconds=CONTROL if is_control else inf,
    )


def is_usable(context: Context, tool: str) -> bool:
    """Return whether the control of a tool ended well just now, and write down why not."""
    control = f"{tool} {names.OFF}"
    *_, ended = (one for one in context.findings.read("tools") if one.get("job") == control)
    if ended["code"] != RIGHT:
        why = f"{tool}: the equation as written ends with {ended['code']} under it: {ended['last']}"
        context.findings.add(stage="tools", control=control, missing=why)
    return bool(ended["code"] == RIGHT)
