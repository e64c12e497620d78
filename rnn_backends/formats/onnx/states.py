"""Which of two inputs of a step is the state, where both have one size: by the names of the weights, or their own."""

import re
from collections.abc import Mapping

import numpy as np

from rnn_backends.formats.onnx.flow import Flow
from rnn_backends.formats.onnx.interpreter import Call

_ROLE = re.compile(r"(?:.*[./])?(?:weight|bias)_(ih|hh)(?:_l[0-9]+)?(?:_reverse)?", re.DOTALL)
"""Names that torch gives to what an RNN multiplies the input by, or the state, and adds to each."""
_STATES = {
    "h", "h0", "h_0", "hx", "h_in", "h_prev", "prev_h", "hidden", "hidden_0", "hidden_in", "hidden_state",
    "prev_hidden", "initial_h",
}  # fmt: skip
_PERHAPS = {"state", "states", "memory", "carry", "prev", "previous", "prev_state", "previous_state"}
"""Names of states and of other things: in reinforcement learning `state` is what a network takes."""

Reading = tuple[Flow, Flow]
"""What a step takes of the input, and of the state."""


def decided(call: Call, readings: list[Reading]) -> list[Reading]:
    """Return the one of two readings that names decide for; both, the likelier first, where they do not."""
    roles = _roles(call)
    clear = [reading for reading in readings if _is_named(reading, roles)]
    if len(clear) == 1:
        return clear
    names = [before.content.state.content.name for _, before in readings]
    known = [name in _STATES for name in names]
    if known[0] != known[1] and names[known.index(False)] not in _PERHAPS:
        return [readings[known.index(True)]]
    return sorted(readings, key=lambda each: -(each[0].content.seq.size or 0))


def _is_named(reading: Reading, roles: Mapping[int, str]) -> bool:
    """Return whether a name of a weight or a bias says that a reading is right; of the other one it may, too."""
    x, before = reading
    link = x.content.link
    of_x = {roles.get(id(each)) for each in (link.weight, *link.added)}
    of_state = {roles.get(id(each)) for each in (before.content.weight, *before.content.added)}
    return "ih" in of_x or "hh" in of_state


def _roles(call: Call) -> Mapping[int, str]:
    """Return what torch's names say of constants, by their ids: `ih` or `hh`; nothing of one that has both names."""
    shared = call.graph.shared
    if shared.roles is None:
        shared.roles = {}
        for name, array in call.graph.values.items():
            role = _ROLE.fullmatch(name)
            if role is None or not isinstance(array, np.ndarray) or array.dtype.kind != "f":
                continue
            own = shared.constant(array)
            for each in (own, shared.made(("transposed",), own, np.transpose)):
                shared.roles[id(each)] = role[1] if shared.roles.get(id(each), role[1]) == role[1] else ""
    return shared.roles
