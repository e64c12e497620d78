"""Load files that are wrong in many ways: `python tests/fuzz [--reader R] [--count N] [--seed S]`.

Each must load or be refused in one sentence that names it, take at most 64 MiB more than it has and 5 s, and run
nothing.  With Atheris installed, its feedback of branches drives the choices; without it, a generator with a seed, which
on Python 3.12 and later follows the lines that are reached.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzz.machine import main

sys.exit(main(sys.argv[1:]))
