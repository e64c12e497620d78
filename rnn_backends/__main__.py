"""``python -m rnn_backends``: the commands."""

import sys

from rnn_backends.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
