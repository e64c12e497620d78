"""The choice of what a check walks: the fewest kernels that have every branch which plans take on a device.

A branch is what the text of a kernel is compiled to by the value of a macro, or how often one of its loops turns: once
or more.
"""

from collections.abc import Iterable, Iterator, Mapping
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

    The rows of nearly all networks are whole vectors, with which each branch is walked therefore; where they are not,
    nothing else counts.
    """
    (problem, plan), macros = option, dict(option.plan.macros)
    if plan.regime != "step" and problem.hidden_size * problem.itemsize % 16:
        return frozenset({("vectors", 0)})
    found: dict[str, int] = {name: macros[name] for name in ("DIRECTIONS", "FUSED", "DEPTH") if name in macros}
    if plan.on_tensor_cores:
        results = macros["BLOCK_ROWS"] * macros["SEQUENCES"] // 2
        found |= {"SEQUENCES": macros["SEQUENCES"], "PARTS": macros["PARTS"] > 1, "ROUNDS": results > plan.threads}
    elif plan.regime != "step":
        several, held = macros["SEQUENCES"] > 1, macros["HELD"] * macros["LANES"] * 16 // problem.itemsize
        found |= {"SEQUENCES": several, "features of SEQUENCES": several and macros["FUSED"]}
        if held == macros["COLUMNS"] or held < problem.hidden_size:  # else only zeros are in shared memory
            found |= {"HELD": held == macros["COLUMNS"]}
    if plan.sequences:  # of a block, which takes some of them at once
        found |= {"turns": plan.sequences > macros["SEQUENCES"]}
    return frozenset((name, int(value)) for name, value in found.items())


def options(regime: str, problems: Iterable[Problem], device: Device) -> Iterator[Option]:
    """Yield the kernels of a regime for some networks, of each the fastest by estimate first."""
    for problem in problems:
        for plan in sorted(PLANS[regime](problem, device), key=lambda plan: plan.clocks):
            yield Option(problem, plan)


def fewest(given: Iterable[Option]) -> list[Option]:
    """Return the fewest kernels that have all branches of some, of each product: that of tiles and of tensor cores."""
    first: dict[bool, dict[Branches, Option]] = {False: {}, True: {}}
    for option in given:
        first[option.plan.on_tensor_cores].setdefault(branches(option), option)
    return [option for each in first.values() for option in cover(each)]


def cover(given: Mapping[Branches, Option]) -> list[Option]:
    """Return the fewest that have all branches, on the smallest networks that do."""
    every = frozenset().union(*given)
    for count in range(1, len(given) + 1):
        covers = [some for some in combinations(given, count) if every == frozenset().union(*some)]
        if covers:
            return min(([given[one] for one in some] for some in covers), key=width)
    return []


def width(some: Iterable[Option]) -> int:
    """Return how many numbers the states of a step have in one direction, of all networks."""
    return sum(option.problem.batch * option.problem.hidden_size for option in some)
