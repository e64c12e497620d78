"""The package's own check of a kernel: `python -m gpu_stages.trust FINDINGS KERNEL DTYPE...`, with an empty cache folder."""

import sys
from pathlib import Path

import rnn_backends as rb
from gpu_stages.findings import RIGHT, WRONG, Findings, leave
from gpu_stages.names import kernels


def main() -> None:
    path, kernel, *dtypes = sys.argv[1:]
    findings, backend = Findings(Path(path)), rb.get_backend("cupy")
    refused = []
    for dtype in dtypes:
        if dtype in backend.dtypes():
            passed = kernels("trust").trusted(kernel, backend.dtype(dtype))
            findings.add(stage="selfcheck", kernel=kernel, dtype=dtype, trusted=passed)
            refused += [] if passed else [dtype]
    leave(WRONG if refused else RIGHT, f"not used for: {', '.join(refused)}; see above" if refused else "")


if __name__ == "__main__":
    main()
