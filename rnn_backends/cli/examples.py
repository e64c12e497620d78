"""Examples in the help of each command; a test runs them beside the files that they name."""

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": (
        "rnn-backends info",
        "rnn-backends run shakespeare.safetensors the-tempest.txt",
        "rnn-backends convert shakespeare.safetensors shakespeare.npz",
    ),
    "info": (
        "rnn-backends info",
        "rnn-backends info shakespeare.safetensors",
        "rnn-backends info shakespeare.safetensors --json",
        "rnn-backends info word_lm.pt --activation tanh \\\n      --readout-activation softmax",
    ),
    "run": (
        "rnn-backends run shakespeare.safetensors the-tempest.txt",
        "rnn-backends run shakespeare.safetensors the-tempest.txt \\\n      --predictions --output likeliest.txt",
        "rnn-backends run shakespeare.safetensors the-tempest.txt --backend cupy",
    ),
    "generate": (
        "rnn-backends generate shakespeare.safetensors PROSPERO --seed 1",
        "rnn-backends generate words.safetensors 'my lord ,' --stop . --count 3",
        "echo 'my lord ,' | rnn-backends generate words.safetensors - --length 30",
    ),
    "convert": (
        "rnn-backends convert shakespeare.safetensors shakespeare.npz",
        "rnn-backends convert shakespeare.safetensors shakespeare.onnx",
        "rnn-backends convert word_lm.pt word_lm.safetensors --activation tanh \\\n      --readout-activation softmax",
    ),
    "bench": (
        "rnn-backends bench --shape 50 8 16 32 --rounds 3 --json times.json",
        "rnn-backends bench --shape 50 1 8 16 --against --backend numpy --backend cupy",
    ),
    "completion": (
        'eval "$(rnn-backends completion bash)"',
        "rnn-backends completion bash \\\n      > ~/.local/share/bash-completion/completions/rnn-backends",
        "rnn-backends completion zsh > ~/.zfunc/_rnn-backends",
        "rnn-backends completion fish \\\n      > ~/.config/fish/completions/rnn-backends.fish",
    ),
    "help": ("rnn-backends help run",),
}
"""The examples of each command by its name, those of the program itself under none."""


def shown(command: str) -> str:
    """Return the end of a help, in which lines that begin with a space stand as they are."""
    return "\n".join(["Examples:", *(f"  {example}" for example in EXAMPLES.get(command, ()))])
