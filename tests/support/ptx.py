"""The GPU kernels as NVIDIA's compiler makes them: an interpreter of PTX, in place of `shim.run`.

It runs the PTX of a kernel, device.cu included, all threads of all blocks, and raises `Fault` where a kernel

* loads or stores outside of every array, or at an address that its size does not divide, or stores where it may not;
* has two threads access one place, one of them to store, and no barrier in between (relaxed accesses of global memory
  may meet each other, and nothing else);
* waits for what does not come: a barrier that some thread of the block does not reach, or reaches at another place, or
  a shuffle that some lane does not reach.

Threads that are at one instruction execute it at once, in NumPy; those that are behind come first, but for some that a
seed draws.  Of a race the order does not matter: it is seen by who accessed what since the last barrier.

What it does not show: machine code, which ptxas makes of PTX; memory that is weaker than this one, where all threads see
a store at once (see `shim.py`); how `ex2.approx` and `rcp.approx` round, which are exact here; and time.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import nvrtc
import ptx_memory
import shim
from ptx_memory import Fault
from ptx_operations import BYTES, OPERATIONS, TOGETHER, Unknown, dtype_of

from rnn_backends.backends.cuda_kernels.sources import source

FLAGS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space", "-arch=compute_90")  # CuPy's
SHARED = 1024  # where shared memory begins, as on a GPU
MOST_TURNS = 2_000_000

RUNNING, AT_BARRIER, AT_WARP, ENDED = range(4)
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
        raise Unknown(text)
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
        self.symbols = {name: SHARED for name in re.findall(r"\.extern \.shared .*?(\w+)\[\]", text)}

    def take(self, statement: str) -> None:
        if statement.endswith(":"):
            self.targets[statement[:-1]] = len(self.code)
        elif statement.startswith(".reg"):
            _, kind, name = statement.split(maxsplit=2)
            self.registers[name.partition("<")[0]] = BYTES[kind[1:]] * (-1 if kind == ".pred" else 1)
        elif statement and not statement.startswith("."):
            self.code.append(parsed(statement))


class Machine:
    """The threads of a launch; those that execute an instruction are `active`."""

    def __init__(
        self, program: Program, launch: tuple[int, int, int], parameters: Sequence[bytes], memory: Any, seed: int
    ) -> None:
        self.program, (self.blocks, self.threads, shared) = program, launch
        assert self.threads % 32 == 0, "a part of a warp"
        assert [len(each) for each in parameters] == list(program.parameters.values()), "other arguments"
        packed, self.symbols = bytearray(), dict(program.symbols)
        for name, each in zip(program.parameters, parameters, strict=True):
            packed += bytes(-len(packed) % 8)
            self.symbols[name] = len(packed)
            packed += each
        self.pitch = -(-shared // 16) * 16
        self.memories = {
            "param": ptx_memory.of_bytes(bytes(packed)),
            "shared": ptx_memory.of_blocks(self.blocks, shared, SHARED),
            "global": memory,
        }
        self.all = np.arange(self.blocks * self.threads)
        self.active: Any = slice(None)
        self.pc, self.state = np.zeros(len(self.all), np.int64), np.full(len(self.all), RUNNING)
        special = {"%tid.x": self.all % self.threads, "%ctaid.x": self.all // self.threads}
        self.registers: dict[str, Any] = {name: value.astype(np.uint32) for name, value in special.items()}
        self.random = np.random.default_rng(seed)

    # The operands of an instruction.

    def register(self, name: str) -> Any:
        if name not in self.registers:
            size = self.program.registers[name if name in self.program.registers else name.rstrip("0123456789")]
            self.registers[name] = np.zeros(len(self.all), bool if size < 0 else ptx_memory.UNSIGNED[size])
        return self.registers[name]

    def value(self, name: str, kind: str) -> Any:
        """Return the value of an operand, as that of a type: a number for each active thread, or one for all."""
        if name[0] != "%":
            return constant(self.symbols.get(name, name), kind)
        value = self.register(name)[self.active]
        if kind == "pred":
            return value
        wanted = dtype_of(kind)
        return (value if value.itemsize == wanted.itemsize else value.astype(f"u{wanted.itemsize}")).view(wanted)

    def put(self, name: str, value: Any) -> None:
        if name == "_":
            return
        register = self.register(name)
        if value.itemsize != register.itemsize:
            value = value.astype(f"{'i' if value.dtype.kind == 'i' else 'u'}{register.itemsize}")
        register[self.active] = value if register.dtype == bool else value.view(register.dtype)

    def spread(self, value: Any) -> Any:
        """Return a number for each active thread."""
        return np.ascontiguousarray(np.broadcast_to(value, self.all[self.active].shape))

    def place(self, instruction: Instruction, at: Address) -> tuple[Any, Any, Any, Any, bool]:
        """Return the memory of an instruction, the addresses, threads and ranges of it, and whether it is relaxed."""
        words, threads = instruction.key.split("."), self.all[self.active]
        space = next((word for word in words if word in self.memories), "global")
        memory, kind = self.memories[space], "u32" if space == "shared" else "u64"
        addresses = self.spread(self.value(at.base, kind)).astype(np.int64) + at.offset
        if space == "shared":
            block = threads // self.threads
            return memory, addresses + block * self.pitch, threads, block, False
        return memory, addresses, threads, memory.range_of(addresses), "relaxed" in words

    def load(self, instruction: Instruction, at: Address, size: int, count: int) -> Any:
        memory, addresses, *others = self.place(instruction, at)
        return memory.load(addresses, size, count, *others)

    def store(self, instruction: Instruction, at: Address, values: Any) -> None:
        memory, addresses, *others = self.place(instruction, at)
        memory.store(addresses, values, *others)

    # The order of threads.

    def run(self) -> None:
        with np.errstate(all="ignore"):
            for _ in range(MOST_TURNS):
                ready = np.flatnonzero(self.state == RUNNING)
                if ready.size:
                    self.take_turn(self.drawn(ready))
                elif (self.state == ENDED).all():
                    return
                else:
                    raise Fault(self.deadlock())
        msg = "no end"
        raise Fault(msg)

    def drawn(self, ready: Any) -> Any:
        """Return threads that are at one instruction: mostly the lowest there is, and all of them."""
        at = self.pc[ready]
        threads = ready[at == (at.min() if self.random.random() < 0.7 else self.random.choice(at))]
        if self.random.random() < 0.2:
            some = threads[(self.random.random(len(self.all) // 32) < 0.5)[threads // 32]]
            threads = some if some.size else threads
        return threads

    def take_turn(self, threads: Any) -> None:
        """Let threads run on to the next instruction at which they may part, or meet others."""
        number = int(self.pc[threads[0]])
        while True:
            instruction = self.program.code[number]
            if instruction.key in TOGETHER:
                threads = self.gathered(threads, number)
                if not threads.size:
                    return
            active = self.guarded(instruction, threads)
            if instruction.key in JUMPS:
                self.jump(instruction, number, threads, active)
                return
            if active.size:
                self.active = slice(None) if active.size == self.all.size else active
                self.execute(instruction)
            number += 1
            if number in self.program.joins:
                self.pc[threads] = number
                return

    def execute(self, instruction: Instruction) -> None:
        try:
            OPERATIONS[instruction.key](self, instruction)
        except Fault as fault:
            fault.add_note(instruction.text)
            raise

    def guarded(self, instruction: Instruction, threads: Any) -> Any:
        if not instruction.guard:
            return threads
        return threads[self.register(instruction.guard)[threads] != instruction.is_negated]

    def gathered(self, threads: Any, number: int) -> Any:
        """Return the threads of all warps that are at an instruction with each lane; the others wait there."""
        self.pc[threads], self.state[threads] = number, AT_WARP
        at = ((self.state == AT_WARP) & (self.pc == number)).reshape(-1, 32)
        ready = np.flatnonzero(np.repeat(at.all(axis=1), 32))
        self.state[ready] = RUNNING
        return ready

    def jump(self, instruction: Instruction, number: int, threads: Any, active: Any) -> None:
        self.pc[threads] = number + 1
        if instruction.key == "bra":
            self.pc[active] = self.program.targets[instruction.operands[0]]
        elif instruction.key == "ret":
            self.state[active] = ENDED
        else:
            self.state[active] = AT_BARRIER
            self.pass_barriers()

    def pass_barriers(self) -> None:
        """Let the blocks go on all of whose threads are at a barrier."""
        states, places = (each.reshape(self.blocks, self.threads) for each in (self.state, self.pc))
        for block in np.flatnonzero((states == AT_BARRIER).all(axis=1)):
            if np.ptp(places[block]):
                msg = "threads of a block wait at two barriers"
                raise Fault(msg)
            states[block] = RUNNING
            self.memories["shared"].forget(block)

    def deadlock(self) -> str:
        names = {AT_BARRIER: "at a barrier", AT_WARP: "for the other lanes of a warp", ENDED: "no longer"}
        states = ", ".join(f"{(self.state == state).sum()} wait {name}" for state, name in names.items())
        return f"a deadlock: of {len(self.all)} threads {states}"


@cache
def constant(text: str | int, kind: str) -> Any:
    if isinstance(text, str) and text[:2] in {"0f", "0d"}:
        return np.uint64(int(text[2:], 16)).astype(f"u{len(text[2:]) // 2}").view(dtype_of(kind))
    number = int(text, 0) if isinstance(text, str) else text
    if kind == "pred":
        return np.bool_(number)
    size = BYTES[kind]
    return np.uint64(number % (1 << 64)).astype(f"u{size}").view(dtype_of(kind))


program = cache(Program)


@cache
def text_of(body: str, macros: tuple[tuple[str, Any], ...]) -> str:
    """Return the PTX of a kernel."""
    flags = [*FLAGS, *(f"-D{macro}={value}" for macro, value in macros)]
    return nvrtc.ptx(source("device.cu") + body, flags)


def arrays_of(arguments: Sequence[Any]) -> Iterator[tuple[Any, bool]]:
    """Yield the arrays that arguments lead to, and whether a kernel may write them."""
    for argument in arguments:
        if isinstance(argument, shim.Struct):
            yield from ((array, name in argument.written) for name, array in argument.arrays.items())
            yield from ((array, False) for array in argument.weights)
        elif isinstance(argument, np.ndarray):
            yield argument, True


def run(
    body: str,
    name: str,
    macros: Mapping[str, Any],
    launch: tuple[int, int, int],
    arguments: Sequence[Any],
    seed: int = 0,
) -> None:
    """Run a kernel as `shim.run` does, or raise `Fault`."""
    text = text_of(body, tuple(sorted({"WAITS": shim.WAITS, **macros}.items())))
    values = [shim.as_argument(argument).tobytes() for argument in arguments]
    try:
        Machine(program(text), launch, values, ptx_memory.of_arrays(arrays_of(arguments)), seed).run()
    except Fault as fault:
        fault.add_note(f"{name} with {dict(macros)} and seed {seed}")
        raise
