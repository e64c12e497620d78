"""Notes in the metadata of a network: what of Keras's own output differs, and the steps that the model masks."""

from rnn_backends.formats.keras.plan import Plan

OUTPUT, MASK = "keras output", "keras mask"


def notes(found: Plan) -> dict[str, str]:
    """Return the notes by their names."""
    texts = {OUTPUT: _order(found), MASK: _mask(found)}
    return {name: text for name, text in texts.items() if text}


def _order(found: Plan) -> str:
    """Return how the order of the steps differs from Keras's; empty where it does not."""
    return "the steps are in the order of the input; Keras gives the last one first" if found.is_turned else ""


def _mask(found: Plan) -> str:
    """Return the mask of the steps, and the model's output there; empty if it masks none."""
    if not found.mask:
        return ""
    top, of = found.layers[-1], "the readout of " if found.readout else ""
    if top.sequences is None:
        return (
            f"{found.mask}; a masked step holds the state; in Keras it gives {of}0 in a Bidirectional, or with "
            "zero_output_for_mask=True"
        )
    if found.reads != "steps" or not top.zeros:
        return f"{found.mask}; a masked step holds the state"
    theirs = f"{of}0, or {of}the state on some backends" if top.unrolled else f"{of}0"
    return f"{found.mask}; masked steps differ: Keras gives {theirs}; here they give {of}the state, which is held"
