"""A very long walk, bit for bit the same in pieces: `python -m gpu_stages.stress FINDINGS KERNEL SIZES`."""

import sys
from pathlib import Path

from pieces import pieces_differ

import rnn_backends as rb
from gpu_stages.findings import REFUSED, RIGHT, WRONG, Findings, leave
from gpu_stages.sizes import SIZES


def main() -> None:
    path, kernel, sizes = sys.argv[1:]
    findings, stress, mismatches = Findings(Path(path)), SIZES[sizes].stress, 0
    walks = [(stress.seq_len, stress.piece, 2, 96)]
    walks += [(stress.other_len, stress.piece // 10 + n, 5, 90 + n) for n in range(1, stress.others + 1)]
    for walk in walks:
        try:
            differ = pieces_differ(*walk)
        except rb.ArgumentError as reason:
            leave(REFUSED, str(reason))
        mismatches += differ
        findings.add(stage="stress", kernel=kernel, walk=walk, mismatches=differ)
    leave(RIGHT if mismatches == 0 else WRONG, f"{mismatches} mismatches")


if __name__ == "__main__":
    main()
