"""Lines of functions that are reached; those of modules and of classes run as they are imported, and are not counted."""

import sys
from types import CodeType
from typing import Any

from fuzz.readers import FORMATS, modules

Line = tuple[str, int]
_OPTIMIZED = 0x1
"""The flag of the code of functions."""
CAN_SEE = sys.version_info >= (3, 12)
_IMPORTED = {"<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>"}
"""What of a module itself runs as it is imported."""
_TOOL = 4


def all_lines() -> dict[str, dict[str, set[int]]]:
    """Return the numbers of the lines of functions, by module and by function, of which there may be two of a name."""
    return {name: _functions(compile(path.read_bytes(), str(path), "exec")) for name, path in modules().items()}


def _functions(module: CodeType) -> dict[str, set[int]]:
    """Return the lines of the functions of a module by their names, with those of functions in them."""
    found: dict[str, set[int]] = {}
    waiting: list[tuple[str, CodeType]] = [("", module)]
    while waiting:
        outer, code = waiting.pop()
        is_function = bool(code.co_flags & _OPTIMIZED)
        if is_function and (outer or code.co_name not in _IMPORTED):
            outer = outer or code.co_name
            found.setdefault(f"{outer}:{code.co_firstlineno}", set()).update(_lines_of(code))
        waiting += [(outer, held) for held in code.co_consts if isinstance(held, CodeType)]
    return found


def _lines_of(code: CodeType) -> set[int]:
    """Return the lines of a function without that of its beginning, which is no statement."""
    found = {line for _, _, line in code.co_lines() if line is not None}
    return found - {code.co_firstlineno} if len(found) > 1 else found


class Lines:
    """The lines that are reached from its beginning on."""

    def __init__(self) -> None:
        self.reached: set[Line] = set()
        self.fresh: set[Line] = set()
        self._begin = len(str(FORMATS)) + 1
        self._disable: Any = None

    def start(self) -> None:
        """Begin to see lines, each once."""
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # of Python 3.12
        self._disable = monitoring.DISABLE
        monitoring.use_tool_id(_TOOL, "fuzz")
        monitoring.register_callback(_TOOL, monitoring.events.LINE, self._see)
        monitoring.set_events(_TOOL, monitoring.events.LINE)

    def _see(self, code: CodeType, line: int) -> Any:
        if code.co_filename.startswith(str(FORMATS)) and code.co_flags & _OPTIMIZED:
            found = (code.co_filename[self._begin : -3], line)
            if found not in self.reached:
                self.reached.add(found)
                self.fresh.add(found)
        return self._disable

    def taken(self) -> set[Line]:
        """Return the lines that were reached for the first time since this was asked last."""
        found, self.fresh = self.fresh, set()
        return found

    def again(self) -> None:
        """See all lines again."""
        self.reached, self.fresh = set(), set()
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        monitoring.restart_events()
