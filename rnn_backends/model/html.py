"""A network as a table of HTML, as notebooks show models and streams: sizes and notes, and none of its numbers.

Nothing is read from a device.  Colours are the notebook's own, and what a file says is shortened and escaped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from html import escape
from math import prod
from typing import Any

from rnn_backends.core.arrays import dtype_name, is_array
from rnn_backends.core.layers import named_arrays, num_parameters
from rnn_backends.core.network import Network
from rnn_backends.core.rate import RateCell
from rnn_backends.model.placed import Placed
from rnn_backends.model.summary import activation_name, activation_of, noise_text, plural

NOTES = ("task", "source", "training data", "licence", "license")
"""Notes of the metadata that are shown."""
LONGEST = 160
"""Characters of a note or a name that are shown."""
MOST_ROWS = 20
"""Parts that are shown from the first on, and from the last back."""
ITEMSIZE = {"float64": 8, "float32": 4, "int32": 4}
COLUMNS = ("part", "input size", "output size", "activation", "parameters")
LEFT, RIGHT = "text-align: left; overflow-wrap: anywhere", "text-align: right"
NAME = "text-align: left; white-space: nowrap"
ACTIVATION = f"{LEFT}; min-width: 6em"
STYLES = {"part": "text-align: left", "activation": ACTIVATION}
PADDING = "padding: 0.15em 1em 0.15em 0"
TABLE = '<table style="color: inherit">'
UNTYPESET = "tex2jax_ignore mathjax_ignore"
"""The classes of what notebooks leave as it is, where a file writes mathematics."""


def html(kind: str, placed: Placed, **more: object) -> str:
    """Return the table of a model or a stream, whose own properties stand first."""
    network = placed.network
    head = "".join(_cell("th", name, STYLES.get(name, RIGHT)) for name in COLUMNS)
    rows = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in _shown(list(_parts(network))))
    properties = {**more, **_properties(placed)}
    below = "".join(
        f"<tr>{_cell('th', name, NAME)}{_cell('td', value, LEFT)}</tr>"
        for name, value in properties.items()
        if value is not None
    )
    return (
        f'<div class="{UNTYPESET}">'
        f"<strong>{escape(kind)}</strong>"
        f"{TABLE}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"{TABLE}<tbody>{below}</tbody></table></div>"
    )


def _shown(parts: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Return the rows of the first and the last parts, and one for those between that are left out."""
    between = parts[MOST_ROWS:-MOST_ROWS]
    if len(between) < 2:
        return parts
    counts = [row[-1] for row in between if isinstance(row[-1], int)]
    left_out = (f"{len(between):,} more", None, None, None, sum(counts) if counts else None)
    return [*parts[:MOST_ROWS], left_out, *parts[-MOST_ROWS:]]


def _parts(network: Network) -> Iterator[tuple[object, ...]]:
    """Yield a row for each part: name, sizes, activation and number of parameters."""
    for name, linears in (("encoder", network.encoder), ("readout", network.readout)):
        if name == "readout":
            yield from _layers(network)
        for index, linear in enumerate(linears):
            title = f"{name} {index}" if len(linears) > 1 else name
            activation = activation_name(linear.activation)
            yield title, linear.input_size, linear.output_size, activation, num_parameters(linear)


def _layers(network: Network) -> Iterator[tuple[object, ...]]:
    for index, layer in enumerate(network.layers):
        for cell, reverse in layer.cells:
            sizes = (getattr(cell, "input_size", None), getattr(cell, "hidden_size", None))
            title = f"layer {index} {'backward' if reverse else 'forward'}"
            yield title, *sizes, _options(cell), num_parameters(cell) if is_dataclass(cell) else None
    if network.h_0 is not None:
        yield "initial states", None, None, None, num_parameters(network.h_0)


def _options(cell: Any) -> str:
    """Return the activation of a cell, or its class where it is one of the user's own, and its options."""
    options = [*([type(cell).__name__] if isinstance(cell, RateCell) else []), activation_name(activation_of(cell))]
    clip, leak = getattr(cell, "clip", None), getattr(cell, "leak", None)
    if isinstance(clip, float):
        options.append(f"clip {clip:.4g}")
    if isinstance(leak, float):
        options.append(f"leak {leak:.4g}")
    elif is_array(leak):
        options.append("leak of each unit")
    return ", ".join(options)


def _properties(placed: Placed) -> Mapping[str, object]:
    """Return what holds of the network as a whole, by name; None where there is nothing to say."""
    network, words = placed.network, placed.network.vocabulary
    size = sum(prod(array.shape) * ITEMSIZE.get(dtype_name(array), 2) for _, array in named_arrays(network))
    return {
        "parameters": f"{placed.num_parameters:,}, {size:,} bytes{_uncounted(network)}",
        "backend": placed.placement.backend.name,
        "device": placed.placement.device,
        "dtype": placed.dtype,
        "takes": network.takes or "features or token ids",
        "reads": network.reads if network.readout else None,
        "noise": noise_text(network.noise),
        "batch_first": network.batch_first,
        "vocabulary": words
        and f"{len(words):,} {plural(len(words), 'character' if isinstance(words, str) else 'word')}",
        **{name: network.metadata.get(name) for name in NOTES},
    }


def _uncounted(network: Network) -> str:
    """Return a remark on cells that are no dataclasses, whose arrays nobody can list."""
    cells = [cell for layer in network.layers for cell, _ in layer.cells]
    kinds = dict.fromkeys(type(cell).__name__ for cell in cells if not is_dataclass(cell))
    return f", without those of {', '.join(kinds)}" if kinds else ""


def _cells(row: tuple[object, ...]) -> Iterator[str]:
    for column, value in zip(COLUMNS, row, strict=True):
        shown = "" if value is None else f"{value:,}" if isinstance(value, int) else value
        yield _cell("th" if column == "part" else "td", shown, STYLES.get(column, RIGHT))


def _cell(tag: str, value: object, style: str) -> str:
    shown = escape(_short(str(value)))
    return f'<{tag} style="{style}; {PADDING}">{shown}</{tag}>'


def _short(text: str) -> str:
    """Return a text without what is not to be seen, such as marks that turn the direction of writing, and shortened."""
    shown = "".join(each if each.isprintable() else " " for each in text[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}\u2026"
