"""Ways out of a refusal, one text an id; a test follows each of them to a network with the right numbers."""

from collections.abc import Mapping

WAYS: Mapping[str, str] = {
    "activation": "pass the right one, e.g. activation='tanh'",
    "leave_out": "leave `{option}` out",
    "encoder_activation": "pass encoder_activation={example}, or what it was trained with",
    "readout_activation": (
        "pass readout_activation={example} if it was trained with a cross-entropy, 'identity' in place of 'softmax' "
        "if it gives values"
    ),
    # torch: weights that are computed of others, and modules
    "effective_parametrization": (
        "call torch.nn.utils.parametrize.remove_parametrizations before it is saved, or give the module itself to "
        "rnn_backends.from_torch"
    ),
}
"""The texts by id; what stands in braces is given by the caller.  Options in them are valid Python: name=value."""


def way(key: str, **parts: object) -> str:
    """Return a way out, as the end of a sentence."""
    return WAYS[key].format(**parts)
