"""The pickle in a .pt file, read as data: nothing is imported, looked up or called.

A pickle is a program.  `pickle.Unpickler` with a strict find_class would still run it, calling whatever it
finds and setting the state of whatever that returns, so that its safety hangs on all that every admitted
object can be made to do.  Here the tables of `pickletools`, which only parse, split the bytes into opcodes;
some thirty of them are understood, names are compared as text, and what comes out are containers, numbers,
texts and records that say where a tensor lies.  Nothing else can come out, whatever the pickle says.
"""

import io
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rnn_backends.errors import FormatError
from rnn_backends.formats.names import short, shown
from rnn_backends.formats.source import Account
from rnn_backends.formats.torch.tensors import STORAGES, Storage, Tensor

MAX_KEY = 2**32  # the hashes of larger integers can be made to collide
MAX_SIZE = 2**48

_FUNCTIONS = ("collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT, _GET = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}


@dataclass(frozen=True)
class _Global:
    """A name that stands for a class or a function of Python; it stays a name."""

    name: str


def unpickle(data: bytes, account: Account) -> tuple[Any, dict[str, Storage]]:
    """Return what a pickle says, and the storages that it speaks of by key."""
    account.take("its pickle", "bytes", 8 * len(data))  # of a text that is not in ASCII, a character takes 4
    machine = _Machine()
    stream = io.BytesIO(data)
    try:
        for opcode, argument in _opcodes(stream, account):
            machine.execute(opcode, argument)
    except FormatError:
        raise
    except ValueError as error:
        msg = f"its pickle is damaged: {short(error)}."
        raise FormatError(msg) from error
    if stream.tell() != len(data):
        msg = "bytes follow the end of its pickle."
        raise FormatError(msg)
    return machine.result, machine.storages


def _opcodes(stream: io.BytesIO, account: Account) -> Iterator[tuple[str, Any]]:
    """Yield the opcodes up to the last, each with its argument."""
    # pickletools.genops would also read the arguments of opcodes that are refused, for which it imports codecs.
    while True:
        account.take("its pickle", "items", 1)  # an opcode is a byte of the file, and up to 350 of memory
        info = _OPCODES.get(stream.read(1).decode("latin1"))
        if info is None:
            msg = "its pickle has an unknown opcode, or no end."
            raise FormatError(msg)
        if info.name not in _UNDERSTOOD:
            msg = f"its pickle has the opcode {info.name}, which torch.save writes for no tensor; {_ADVICE}"
            raise FormatError(msg)
        if info.name == "GLOBAL":
            yield info.name, _name(stream)
        else:
            yield info.name, None if info.arg is None else info.arg.reader(stream)
        if info.name == "STOP":
            return


def _name(stream: io.BytesIO) -> str:
    """Read two lines, a module and a name in it; pickletools would take backslashes in them for escapes."""
    lines = stream.readline(), stream.readline()
    _require(lines[1].endswith(b"\n"), "ends within a name")
    return " ".join(line.removesuffix(b"\n").decode() for line in lines)


class _Machine:
    """The stack machine of pickle, protocol 2, as far as torch.save needs it."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # the stacks below the marks
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.result: Any = None

    def execute(self, opcode: str, argument: Any) -> None:
        if opcode in _VALUES:
            self.stack.append(argument)
        elif opcode in _PUT:
            self.memo[argument] = self.top()
        elif opcode in _GET:
            _require(argument in self.memo, "gets what was not put")
            self.stack.append(self.memo[argument])
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            self.stack.append(_EMPTY[opcode]())
        elif opcode in _TUPLES:
            items = [self.pop() for _ in range(_TUPLES[opcode])]
            self.stack.append(tuple(reversed(items)))
        elif opcode == "GLOBAL":
            self.stack.append(_known(argument))
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self)
        elif argument != 2:  # of PROTO
            msg = f"its pickle is of protocol {argument}; torch.save writes 2 by default."
            raise FormatError(msg)

    def top(self, kind: type | None = None) -> Any:
        _require(self.stack, "takes from an empty stack")
        _require(kind is None or type(self.stack[-1]) is kind, f"adds to what is no {kind and kind.__name__}")
        return self.stack[-1]

    def pop(self) -> Any:
        self.top()
        return self.stack.pop()

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def pop_to_mark(self) -> list[Any]:
        _require(self.outer, "ends a list that has not begun")
        items, self.stack = self.stack, self.outer.pop()
        return items

    def pack(self) -> None:
        items = self.pop_to_mark()
        self.stack.append(tuple(items))

    def append(self) -> None:
        item = self.pop()
        self.top(list).append(item)

    def appends(self) -> None:
        items = self.pop_to_mark()
        self.top(list).extend(items)

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_pairs([key, value])

    def set_pairs(self, items: list[Any]) -> None:
        held = self.top(dict)
        _require(len(items) % 2 == 0, "has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            _require(type(key) is str or (type(key) is int and abs(key) < MAX_KEY), "has a key that is no text")
            _require(key not in held, "has a key twice")
            held[key] = value

    def persistent(self) -> None:
        """Push a storage; torch writes all storages as persistent ids."""
        match self.pop():
            case ("storage", _Global(name), str(key), str(), int(count)) if name in STORAGES and 0 <= count < MAX_SIZE:
                storage = Storage(key, STORAGES[name], count)
            case _:
                _require(False, "has a persistent id that is no storage")
        _require(self.storages.setdefault(key, storage) == storage, "has two storages of one name")
        self.stack.append(storage)

    def reduce(self) -> None:
        """Push what one of the three known names is applied to, by what it means."""
        arguments, function = self.pop(), self.pop()
        match function, arguments:
            case _Global(name="collections OrderedDict"), ():
                self.stack.append({})
            case _Global(name="torch._utils _rebuild_tensor_v2"), (Storage(), _, tuple(), tuple(), bool(), *more):
                # The hooks of a backward pass, none, and what is to be done with the elements: conjugate, negate.
                _require(more in ([{}], [{}, None], [{}, {}]), "has a tensor that is not plain")
                self.stack.append(_tensor(*arguments[:4]))
            case _Global(name="torch._utils _rebuild_parameter"), (Tensor() as tensor, bool(), *hooks):
                _require(hooks == [{}], "has a parameter that is not plain")
                self.stack.append(tensor)
            case _:
                what = function.name if type(function) is _Global else type(function).__name__
                msg = f"its pickle calls {shown(what)} with other arguments than torch.save does; {_ADVICE}"
                raise FormatError(msg)

    def build(self) -> None:
        """Leave out the one thing that is set on an object: the versions of modules, on a state dict."""
        state = self.pop()
        self.top(dict)
        _require(type(state) is dict and state.keys() <= {"_metadata"}, "sets what only an object has")

    def stop(self) -> None:
        self.result = self.pop()
        _require(not self.stack and not self.outer, "ends with more than one value")


_ACTIONS: dict[str, Callable[[_Machine], None]] = {
    "MARK": _Machine.mark,
    "TUPLE": _Machine.pack,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine: machine.set_pairs(machine.pop_to_mark()),
    "BINPERSID": _Machine.persistent,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "STOP": _Machine.stop,
}
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_UNDERSTOOD = {"PROTO", "GLOBAL", *_VALUES, *_PUT, *_GET, *_CONSTANTS, *_EMPTY, *_TUPLES, *_ACTIONS}
_ADVICE = "nothing in a file is executed. Save the weights alone: torch.save(model.state_dict(), path)."


def _known(name: str) -> _Global:
    if name not in _FUNCTIONS and name not in STORAGES:
        msg = f"it holds {shown(name.replace(' ', '.', 1))}, which is no tensor; {_ADVICE}"
        raise FormatError(msg)
    return _Global(name)


def _tensor(storage: Storage, offset: Any, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> Tensor:
    """Return a tensor that lies within its storage."""
    numbers = (offset, *shape, *strides)
    _require(all(type(number) is int and 0 <= number < MAX_SIZE for number in numbers), "has a tensor of a wrong size")
    _require(len(shape) == len(strides) <= 64, "has a tensor whose strides do not fit its shape")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    _require(0 in shape or last < storage.count, "has a tensor that reaches past the end of its storage")
    return Tensor(storage, offset, shape, strides)


def _require(holds: object, problem: str) -> None:
    """Refuse a pickle unless something holds."""
    if not holds:
        msg = f"its pickle {problem}; it is damaged, or not of torch.save."
        raise FormatError(msg)
