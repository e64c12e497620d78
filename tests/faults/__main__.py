"""Plant faults: `python tests/faults --all`, `--changed`, `--check` or the beginnings of their names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from faults.machine import main

sys.exit(main(sys.argv[1:]))
