"""The choice of what a check walks: the fewest kernels that have every branch which plans compile on a device.

A branch is a value of a macro on which the text of a kernel depends, or whose loops have then one turn or more.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

from rnn_backends.backends.cuda_kernels.plan import PLANS, Plan
from rnn_backends.backends.cuda_kernels.tile import Device, Problem

Branches = frozenset[tuple[str, int]]


class Option(NamedTuple):
    """A kernel that a check may walk, and the network."""

    problem: Problem
    plan: Plan


def branches(option: Option) -> Branches:
    """Return which branches a kernel has.

    Nearly all networks have rows of whole vectors, in memory too. Others count for nothing but that their own have not:
    each branch is walked with vectors.
    """
    (problem, plan), macros = option, dict(option.plan.macros)
    if "SEQUENCES" not in macros:  # `step`, which has none
        return frozenset({("step", 1)})
    if problem.hidden_size * problem.itemsize % 16:
        return frozenset({("vectors", 0)})
    found = {"vectors": 1, "FUSED": macros["FUSED"], "SEQUENCES": macros["SEQUENCES"] > 1}
    if plan.on_tensor_cores:
        results = macros["BLOCK_ROWS"] * macros["SEQUENCES"] // 2
        found |= {"SEQUENCES": macros["SEQUENCES"], "PARTS": macros["PARTS"] > 1, "ROUNDS": results > plan.threads}
    else:
        found |= {"HELD": macros["HELD"] * macros["LANES"] * 16 < macros["COLUMNS"] * problem.itemsize}
    if "DEPTH" in macros:
        found |= {"DEPTH": macros["DEPTH"]}
    if plan.sequences:  # of a block, which takes some of them at once
        found |= {"turns": plan.sequences > macros["SEQUENCES"]}
    product = "tensor cores" if plan.on_tensor_cores else "tile"
    return frozenset((f"{product}: {name}", int(value)) for name, value in found.items())


def options(regime: str, problems: Iterable[Problem], device: Device) -> Iterator[Option]:
    """Yield the kernels of a regime for some networks, of each the fastest by estimate first."""
    for problem in problems:
        for plan in sorted(PLANS[regime](problem, device), key=lambda plan: plan.clocks):
            yield Option(problem, plan)


def fewest(given: Iterable[Option]) -> list[Option]:
    """Return the fewest kernels that together have all branches of some, on the smallest networks that do."""
    first: dict[Branches, Option] = {}
    for option in given:
        first.setdefault(branches(option), option)
    every = frozenset().union(*first)
    for count in range(1, len(first) + 1):
        covers = [some for some in combinations(first, count) if every == frozenset().union(*some)]
        if covers:
            return min(([first[one] for one in some] for some in covers), key=numbers)
    return []


def numbers(some: Iterable[Option]) -> int:
    """Return how many numbers the states of a step have, of all networks."""
    return sum(option.problem.batch * option.problem.hidden_size for option in some)
