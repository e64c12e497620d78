"""The threads of a launch, and in what order they run."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ptx import memory
from ptx.memory import UNSIGNED, Memory, PtxError
from ptx.numbers import BYTES, dtype_of
from ptx.operations import OPERATIONS, TOGETHER
from ptx.program import JUMPS, SHARED, Address, Instruction, Program

MOST_TURNS = 2_000_000
RUNNING, AT_BARRIER, AT_WARP, ENDED = range(4)


class Machine:
    """The threads of a launch; those that execute an instruction are `active`."""

    def __init__(
        self, program: Program, launch: tuple[int, int, int], parameters: Sequence[bytes], arrays: Memory, seed: int
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
            "param": memory.of_bytes(bytes(packed)),
            "shared": memory.of_blocks(self.blocks, shared, SHARED),
            "global": arrays,
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
            self.registers[name] = np.zeros(len(self.all), bool if size < 0 else UNSIGNED[size])
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

    def place(self, instruction: Instruction, at: Address) -> tuple[Memory, Any, Any, Any, bool]:
        """Return the memory of an instruction, the addresses, threads and ranges of it, and whether it is relaxed."""
        words, threads = instruction.key.split("."), self.all[self.active]
        space = next((word for word in words if word in self.memories), "global")
        kind = "u32" if space == "shared" else "u64"
        addresses = self.spread(self.value(at.base, kind)).astype(np.int64) + at.offset
        if space == "shared":
            block = threads // self.threads
            return self.memories[space], addresses + block * self.pitch, threads, block, False
        ranges = self.memories[space].range_of(addresses)
        return self.memories[space], addresses, threads, ranges, "relaxed" in words

    def load(self, instruction: Instruction, at: Address, size: int, count: int) -> Any:
        where, addresses, *others = self.place(instruction, at)
        return where.load(addresses, size, count, *others)

    def store(self, instruction: Instruction, at: Address, values: Any) -> None:
        where, addresses, *others = self.place(instruction, at)
        where.store(addresses, values, *others)

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
                    raise PtxError(self.deadlock())
        msg = "no end"
        raise PtxError(msg)

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
            if instruction.key in TOGETHER and not np.isin(np.bincount(active // 32), (0, 32)).all():
                msg = "some lanes of a warp alone at what all must take part in"
                raise PtxError(msg)
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
        except PtxError as error:
            error.add_note(instruction.text)
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
                raise PtxError(msg)
            states[block] = RUNNING
            self.memories["shared"].forget(int(block))

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
