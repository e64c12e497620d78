"""The pickle in a .pt file, read as data: nothing is imported, looked up or called.

A pickle is a program.  `pickle.Unpickler` with a strict find_class would still run it, calling whatever it
finds and setting the state of whatever that returns, so that its safety hangs on all that every admitted
object can be made to do.  Here names are compared as text, and what comes out are containers, numbers, texts,
records that say where a tensor lies, and placeholders for all objects that are none of these: a checkpoint may
hold anything beside the weights.  Nothing else can come out, whatever the pickle says.
"""

from collections.abc import Callable
from typing import Any

from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.torch.opcodes import BYTES, LONG, MAX_NAME, PROTOCOLS, VALUES, opcodes
from rnn_backends.formats.torch.placeholders import Global, Opaque, applied, require
from rnn_backends.formats.torch.tensors import MAX_SIZE, STORAGES, Storage, Tensor

ENTRY = 100
"""Bytes of an entry of a dict."""
MAX_KEY = 2**32  # the hashes of larger integers can be made to collide

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT, _GET = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}


def unpickle(data: bytes, account: Account) -> tuple[Any, dict[str, Storage]]:
    """Return what a pickle says, and the storages that it speaks of by key."""
    machine = _Machine(account)
    for opcode, argument in opcodes(data, account):
        machine.execute(opcode, argument)
    return machine.result, machine.storages


class _Machine:
    """The stack machine of pickle, as far as its protocols 2 to 5 are used."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # the stacks below the marks
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.result: Any = None

    def execute(self, opcode: str, argument: Any) -> None:
        if opcode in VALUES:
            self.stack.append(argument)
        elif opcode in BYTES:
            self.stack.append(Opaque("builtins", "bytes"))
        elif opcode in _PUT:
            self.memo[argument] = self.top()
        elif opcode in _GET:
            require(argument in self.memo, "gets what was not put")
            self.stack.append(self.memo[argument])
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            self.stack.append(_EMPTY[opcode]())
        elif opcode in _TUPLES:
            self.stack.append(tuple([self.pop() for _ in range(_TUPLES[opcode])][::-1]))
        elif opcode == "GLOBAL":
            self.stack.append(Global(*argument))
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self)
        elif opcode == "PROTO" and argument not in PROTOCOLS:
            msg = f"its pickle is of protocol {argument}; those of torch.save are 2 to 5."
            raise FormatError(msg)

    def top(self) -> Any:
        require(self.stack, "takes from an empty stack")
        return self.stack[-1]

    def pop(self) -> Any:
        self.top()
        return self.stack.pop()

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def pop_to_mark(self) -> list[Any]:
        require(self.outer, "ends a list that has not begun")
        items, self.stack = self.stack, self.outer.pop()
        return items

    def drop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_to_mark()  # as Python's own does: POP takes a mark, too

    def pack(self) -> None:
        items = self.pop_to_mark()  # which changes the stack
        self.stack.append(tuple(items))

    def collect(self) -> None:
        items = self.pop_to_mark()
        self.stack.append(items)

    def pair(self) -> None:
        items = self.pop_to_mark()
        self.stack.append({})
        self.set_pairs(items)

    def freeze(self) -> None:
        self.pop_to_mark()
        self.stack.append(Opaque("builtins", "frozenset"))

    def extend(self, items: list[Any]) -> None:
        held = self.top()
        require(type(held) in {list, Opaque}, "adds to what is no list")
        if type(held) is list:
            held.extend(items)

    def add(self) -> None:
        self.pop_to_mark()
        require(type(self.top()) is Opaque, "adds to what is no set")

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_pairs([key, value])

    def set_pairs(self, items: list[Any]) -> None:
        held = self.top()
        require(type(held) in {dict, Opaque}, "adds to what is no dict")
        require(len(items) % 2 == 0, "has a key without a value")
        if type(held) is Opaque:
            return
        self.account.take("its pickle", "objects", ENTRY * (len(items) // 2))
        for key, value in zip(items[::2], items[1::2], strict=True):
            plain = (type(key) is str and key is not LONG) or (type(key) is int and abs(key) < MAX_KEY)
            require(not plain or key not in held, "has a key twice")
            require(key is not LONG or type(value) is not Tensor, f"names a tensor by more than {MAX_NAME} bytes")
            held[key if plain else Opaque("builtins", type(key).__name__)] = value

    def persistent(self) -> None:
        """Push a storage; torch writes all storages as persistent ids."""
        match self.pop():
            case ("storage", Global(module, name), str(key), str(), int(count)) if 0 <= count < MAX_SIZE:
                if module != "torch" or name not in STORAGES:
                    self.stack.append(Opaque(module, name))
                    return
                storage = Storage(key, STORAGES[name], count)
            case _:
                require(False, "has a persistent id that is no storage")
        require(self.storages.setdefault(key, storage) == storage, "has two storages of one name")
        self.stack.append(storage)

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.stack.append(applied(function, arguments))

    def new_with_options(self) -> None:
        self.pop()
        self.reduce()

    def new_from_mark(self) -> None:
        owner, *arguments = self.pop_to_mark() or [None]
        self.stack.append(applied(owner, tuple(arguments)))

    def named(self) -> None:
        name, module = self.pop(), self.pop()
        require(type(name) is str and type(module) is str, "has a name that is no text")
        self.stack.append(Global(module, name))

    def build(self) -> None:
        """Keep the state of a placeholder; the attributes of a dict, such as versions of modules, are left out."""
        state, held = self.pop(), self.top()
        require(type(held) in {dict, Opaque, Tensor}, "sets the state of what has none")
        if type(held) is Opaque:
            held.state = state

    def stop(self) -> None:
        self.result = self.pop()
        require(not self.stack and not self.outer, "ends with more than one value")


_ACTIONS: dict[str, Callable[[_Machine], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.pop_to_mark,  # type: ignore[dict-item]  # its result is not looked at
    "DUP": lambda machine: machine.stack.append(machine.top()),
    "MEMOIZE": lambda machine: machine.memo.update({len(machine.memo): machine.top()}),
    "TUPLE": _Machine.pack,
    "LIST": _Machine.collect,
    "DICT": _Machine.pair,
    "EMPTY_SET": lambda machine: machine.stack.append(Opaque("builtins", "set")),
    "FROZENSET": _Machine.freeze,
    "APPEND": lambda machine: machine.extend([machine.pop()]),
    "APPENDS": lambda machine: machine.extend(machine.pop_to_mark()),
    "ADDITEMS": _Machine.add,
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine: machine.set_pairs(machine.pop_to_mark()),
    "BINPERSID": _Machine.persistent,
    "STACK_GLOBAL": _Machine.named,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.new_with_options,
    "OBJ": _Machine.new_from_mark,
    "BUILD": _Machine.build,
    "STOP": _Machine.stop,
}
