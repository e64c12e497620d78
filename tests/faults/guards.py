"""Where the tests are that guard: found by their names, in the file that the table names or wherever they live now."""

import ast
from pathlib import Path

from faults.tables import Fault, TableError


class Guards:
    """The files of tests below a folder, and the tests and classes of each."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._tests: dict[Path, set[str]] = {}
        for path in sorted(checkout.joinpath("tests").rglob("test_*.py")):
            defined = ast.parse(path.read_text(encoding="utf-8")).body
            self._tests[path] = {each.name for each in defined if isinstance(each, ast.FunctionDef | ast.ClassDef)}

    def file(self, test: str) -> Path:
        """Return the file of `file::test[parameters]` or `file::Class::test`: as it is called, else the only one that has it."""
        file, _, rest = test.partition("::")
        name = rest.partition("::")[0].partition("[")[0]
        having = [path for path, names in self._tests.items() if name in names]
        called = [path for path in having if f"/{path.relative_to(self._checkout).as_posix()}".endswith(f"/{file}")]
        found = called or having
        if len(found) != 1:
            places = ", ".join(path.name for path in found) or "no file"
            msg = f"{test}: {places} has a test called {name!r}; write the end of the path of the one that guards"
            raise TableError(msg)
        return found[0]

    def written(self, test: str) -> str:
        """Return a test as the table has it, with the name of the file that holds it now."""
        found, (file, _, rest) = self.file(test), test.partition("::")
        path = found.relative_to(self._checkout).as_posix()
        return f"{file if f'/{path}'.endswith(f'/{file}') else found.name}::{rest}"

    def arguments(self, fault: Fault) -> tuple[str, ...]:
        """Return what pytest is given: the options, and the tests by their paths."""
        try:
            files = [self.file(test).relative_to(self._checkout).as_posix() for test in fault.tests]
        except TableError as error:
            msg = f"{fault.name!r}: {error}"
            raise TableError(msg) from error
        names = (test.partition("::")[2] for test in fault.tests)
        return (*fault.options, *(f"{file}::{name}" for file, name in zip(files, names, strict=True)))
