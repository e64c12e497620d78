from typing import Any

BUILT: tuple[str, ...]
RUNS: tuple[str, ...]
ACTIVATIONS: tuple[str, ...]

class Prepared:
    def __new__(
        cls,
        kernel: str,
        weight_ih: Any,
        weight_hh: Any,
        bias: Any,
        activation: str,
        alpha: float,
        beta: float,
        clip: float,
        leak: float,
        leaks: Any,
    ) -> Prepared: ...

def walk(x: Any, output: Any, order: Any, lengths: Any, threads: int, *each: Any) -> None: ...
