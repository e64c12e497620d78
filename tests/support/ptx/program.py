"""The text of a kernel in PTX, taken apart."""

import re
from typing import Any, NamedTuple

from ptx.numbers import BYTES, UnknownInstructionError
from ptx.operations import OPERATIONS

SHARED = 1024
"""Where shared memory begins, as on a GPU."""

JUMPS = {"bra", "ret", "bar.sync"}


class Address(NamedTuple):
    base: str
    offset: int


class Instruction(NamedTuple):
    """A statement; `key` is its name without types and `.ftz`, under which it stands in the table."""

    text: str
    guard: str
    is_negated: bool
    key: str
    types: list[str]
    is_ftz: bool
    operands: list[Any]  # names and numbers, lists of them in braces, and addresses in brackets


def parsed(text: str) -> Instruction:
    found = re.fullmatch(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*)", text, re.DOTALL)
    assert found is not None, text
    negation, guard, name, rest = found.groups()
    head, *parts = name.split(".")
    types = [part for part in parts if part in BYTES]
    key = ".".join([head, *(part for part in parts if part not in BYTES and part not in {"ftz", "uni"})])
    if key not in OPERATIONS and key not in JUMPS:
        raise UnknownInstructionError(text)
    operands = [operand(each) for each in re.findall(r"\{[^}]*\}|\[[^]]*\]|[^\s,{[][^,]*", rest)]
    return Instruction(text, guard or "", bool(negation), key, types, "ftz" in parts, operands)


def operand(text: str) -> Any:
    text = text.strip()
    if text[0] == "{":
        return [part.strip() for part in text[1:-1].split(",")]
    if text[0] == "[":
        base, _, offset = text[1:-1].partition("+")
        return Address(base.strip(), int(offset or 0))
    return text


class Program:
    """A text of PTX with one kernel."""

    def __init__(self, text: str) -> None:
        head, body = re.sub(r"//.*", "", text).split(".entry", 1)[1].split("{", 1)
        found = re.findall(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(\w+)(?:\[(\d+)\])?", head)
        self.parameters = {name: BYTES[kind] * int(count or 1) for kind, name, count in found}
        self.registers: dict[str, int] = {}  # their bytes, by their names without the number
        self.targets: dict[str, int] = {}
        self.code: list[Instruction] = []
        for statement in re.split(r"[;\n]", re.sub(r"(?m)^\s*[{}]\s*$|^(\$\w+:)", r"\1\n", body)):
            self.take(statement.strip())
        self.code.append(parsed("ret"))
        self.joins = set(self.targets.values())
        self.symbols = dict.fromkeys(re.findall(r"\.extern \.shared .*?(\w+)\[\]", text), SHARED)

    def take(self, statement: str) -> None:
        if statement.endswith(":"):
            self.targets[statement[:-1]] = len(self.code)
        elif statement.startswith(".reg"):
            _, kind, name = statement.split(maxsplit=2)
            self.registers[name.partition("<")[0]] = BYTES[kind[1:]] * (-1 if kind == ".pred" else 1)
        elif statement and not statement.startswith("."):
            self.code.append(parsed(statement))
