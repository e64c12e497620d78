"""What pyproject.toml says of the build."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_c_source_and_header_is_listed() -> None:
    (extension,) = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "ext-modules"
    ]
    folder = Path(*extension["name"].split(".")[:-1])
    for listed, pattern in (("sources", "*.c"), ("depends", "*.h")):  # a header left out is not seen to change
        assert sorted(extension[listed]) == sorted(
            path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob(pattern)
        )
