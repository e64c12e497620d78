"""Values of JSON with changes: other values in their places, those of elsewhere among them."""

import copy
import json
from typing import Any

from fuzz.draws import Draw


def places_of(whole: Any) -> list[tuple[Any, Any]]:
    """Return the places in a value: what holds each, and its key or number there."""
    found: list[tuple[Any, Any]] = []
    waiting = [whole]
    while waiting:
        held = waiting.pop()
        items = held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, list) else ()
        for key, value in items:
            found.append((held, key))
            waiting.append(value)
    return found


def changed(draw: Draw, whole: Any) -> Any:
    """Change a value in place, as often as it is drawn; return it."""
    for _ in range(draw.below(4)):
        places = places_of(whole)
        if not places:
            return draw.value()
        holder, key = draw.pick(places)
        kind = draw.below(5)
        donor, other = draw.pick(places)
        if kind == 0:
            holder[key] = draw.value()
        elif kind == 1:
            del holder[key]
        elif kind == 2:
            holder[key] = _copy(donor[other])  # not itself: it may hold the place
        elif kind == 3 and isinstance(holder, dict):
            holder[draw.pick((str(other), draw.text()))] = holder.pop(key)
        elif isinstance(holder, list):
            holder[key:key] = [_copy(donor[other])] * draw.pick((1, 2, 40))
        else:
            holder[draw.text()] = _copy(donor[other])
    return whole


def _copy(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, (dict, list)) else value


def written(draw: Draw, whole: Any) -> bytes:
    """Return the text of a value, with a change to the text now and then."""
    text = json.dumps(whole, ensure_ascii=draw.once(2)).encode("utf-8", "surrogatepass")
    kind = draw.below(40)
    if kind == 35:
        return text.replace(b"{", b'{"a": 1, "a": 2, ', 1)
    if kind == 39:
        return text[: draw.below(len(text) + 1)]
    if kind == 38:
        return b"[" * draw.pick((10, 200, 5000)) + text
    if kind == 37:
        return text + b" " * draw.pick((1, 100)) + draw.octets(4)
    if kind == 36:
        return text.replace(b"1", b"9" * draw.pick((20, 400, 5000)), 1)
    return text
