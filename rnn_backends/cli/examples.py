"""Examples of each command, which its help shows, and which run in the folder examples/deploy of the source."""

from collections.abc import Mapping, Sequence
from textwrap import indent

PROGRAM = ""
"""The key of the examples of the program."""

EXAMPLES: Mapping[str, Sequence[tuple[str, str]]] = {
    PROGRAM: (
        ("What is installed, and which backends work", "rnn-backends info"),
        ("How well a model predicts a text", "rnn-backends run words.safetensors data/the-tempest.txt"),
        ("How a model continues a prompt", 'rnn-backends generate words.safetensors "my lord ," --length 20'),
    ),
    "info": (
        ("What is installed, and which backends work", "rnn-backends info"),
        ("What a model file holds", "rnn-backends info names.safetensors"),
        ("The same for a program", "rnn-backends info names.safetensors --json"),
        ("What weights of your own hold, of cells that are tanh", "rnn-backends info weights.pt --activation tanh"),
    ),
    "run": (
        ("Bits per word of a text", "rnn-backends run words.safetensors data/the-tempest.txt"),
        ("The class of each line", "echo Nakamura | rnn-backends run names.safetensors - --predictions"),
        (
            "Forecasts for the sequences of a table, a year each",
            """rnn-backends run forecast.safetensors data/sea-temperatures.csv \\
  --id year --x month,nino12,nino3,nino34,nino4 --output forecasts.csv""",
        ),
        (
            "Many files, by two processes; the same line again makes what is not whole",
            """rnn-backends run sentiment.safetensors 'data/sent*.txt' --predictions \\
  --output-dir out --jobs 2""",
        ),
    ),
    "generate": (
        ("Twenty words after a prompt", 'rnn-backends generate words.safetensors "my lord ," --length 20'),
        ("The likeliest words", 'rnn-backends generate words.safetensors "my lord ," --temperature 0'),
        (
            "Three sentences, the same each time",
            'rnn-backends generate words.safetensors "ay ," --stop . --count 3 --seed 1',
        ),
        ("A prompt from stdin", 'echo "good night ," | rnn-backends generate words.safetensors - --json'),
    ),
    "convert": (
        ("An archive of NumPy arrays", "rnn-backends convert names.safetensors names.npz"),
        (
            "Weights of your own, with what they do not record",
            "rnn-backends convert weights.pt model.npz --activation tanh --batch-first",
        ),
    ),
    "bench": (
        ("A shape: steps, sequences, features, states", "rnn-backends bench --shape 100 1 64 100 --rounds 5"),
        (
            "No other library, in double precision, to a file as well",
            "rnn-backends bench --shape 50 8 16 32 --against --dtype float64 --json t.json",
        ),
    ),
    "help": (
        ("The commands", "rnn-backends help"),
        ("All options of a command", "rnn-backends help run"),
    ),
    "completion": (
        ("bash: once in this shell, or for good as a line of ~/.bashrc", 'eval "$(rnn-backends completion bash)"'),
        ("zsh: as a line of ~/.zshrc, after compinit", 'eval "$(rnn-backends completion zsh)"'),
        (
            "fish: as a line of ~/.config/fish/config.fish",
            "rnn-backends completion fish | source",
        ),
    ),
}
"""The purpose of each example and its line for a shell, by the command."""


def shown(command: str) -> str:
    """Return the examples of a command as its help shows them."""
    lines = "\n".join(f"# {purpose}\n{line}" for purpose, line in EXAMPLES[command])
    return f"Examples, in the folder examples/deploy of the source:\n{indent(lines, '  ')}"
