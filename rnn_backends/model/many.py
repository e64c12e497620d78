"""`Many`: the results of a model for many sequences of different lengths, in the order in which they are given."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, pairwise
from math import prod
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Array, ArrayLike, Host
from rnn_backends.model.batches import packs, steps_within, windows
from rnn_backends.model.chunks import batch_steps
from rnn_backends.model.init import require_integer
from rnn_backends.model.language import LanguageModel
from rnn_backends.model.model import part_of_rnn
from rnn_backends.model.padding import padded, source_of, taken_steps
from rnn_backends.model.placed import Placed
from rnn_backends.model.ragged import Ragged
from rnn_backends.model.sequences import require_no_noise, required

NONE = Ragged(np.empty(0), np.empty(0, np.int64))
"""No sequence, of which there are results as well: arrays of no rows."""


@part_of_rnn
class Many(LanguageModel):
    """The part of `RNN` that takes many sequences of different lengths at once."""

    def predict_many(
        self,
        sequences: Iterable[ArrayLike | str],
        *,
        lengths: ArrayLike | None = None,
        reads: str | None = None,
        budget: int | None = None,
    ) -> Any:
        """Return the ids of the largest logits for many sequences, in the order in which they are given.

        They are run in batches of nearly equal lengths, so that little is padded, and as large as memory of some 16
        MiB, or that of the parameters, allows.

        Parameters
        ----------
        sequences : iterable of arrays, host data or text, shape (length, input_size) or (length,) each
            Features, token ids, or texts where there is a vocabulary; of any lengths, none included.  A list, or an
            iterator, of which no more than some batches are held.  With `lengths`, the steps of all sequences one after
            another in one array, (steps, input_size) or (steps,), as Arrow's lists hold them: a million sequences
            then cost no Python object each.
        lengths : integers on the host, shape (number of sequences,), optional
            The number of steps of each sequence, where they lie one after another in `sequences`.
        reads : str, optional
            What the readout reads; default: what the model says.
        budget : int, optional
            The most steps of a batch, padding included; a sequence that is longer is run by itself.  JAX compiles anew
            for each shape of a batch that it has not run before: a large budget makes fewer.

        Returns
        -------
        integer array, shape (number of sequences,)
            Where each sequence is read as a whole.  Where each step is, a list of arrays (length,), parts of one array;
            with `lengths` that array, (steps,).

        Raises
        ------
        ArgumentError, ShapeError, DTypeError, VocabularyError
            The arguments are wrong, or a sequence is, which is named; the model has no readout, or has noise, whose
            draws depend on the place in the batch.
        BackendMismatchError, DeviceError
            The sequences belong to another library or device than the model, or to several.

        See Also
        --------
        batches : The batches alone.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> cell = rb.Cell(np.eye(3), np.zeros((3, 3)))
        >>> rnn = rb.RNN([cell], rb.Linear(np.eye(3)), reads="last")
        >>> rnn.predict_many([[0, 2], [1], [0, 1, 0]])
        array([2, 1, 0])
        >>> rnn.predict_many([0, 2, 1, 0, 1, 0], lengths=[2, 1, 3])
        array([2, 1, 0])
        >>> rnn.predict_many([[0, 2], [1]], reads="steps")
        [array([0, 2]), array([1])]
        """
        reads = self._placed.require_reads(reads)
        return _of_many(self, "predict_many", partial(self.predict, reads=reads), reads, (sequences, lengths, budget))

    def probabilities_many(
        self,
        sequences: Iterable[ArrayLike | str],
        *,
        lengths: ArrayLike | None = None,
        reads: str | None = None,
        budget: int | None = None,
    ) -> Any:
        """Return g2(logits) for many sequences, in the order in which they are given.

        Parameters
        ----------
        sequences, lengths, reads, budget
            As for `predict_many`.

        Returns
        -------
        array, shape (number of sequences, output_size)
            Where each sequence is read as a whole.  Where each step is, a list of arrays (length, output_size), parts
            of one array; with `lengths` that array, (steps, output_size).

        Raises
        ------
        ArgumentError, ShapeError, DTypeError, VocabularyError, BackendMismatchError, DeviceError
            As for `predict_many`.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rnn = rb.RNN.init(3, 4, output_size=5)
        >>> [p.shape for p in rnn.probabilities_many([[0, 2], [1]])]
        [(2, 5), (1, 5)]
        >>> rnn.probabilities_many([[0, 2], [1]], reads="mean").shape
        (2, 5)
        """
        reads = self._placed.require_reads(reads)
        run = partial(self.probabilities, reads=reads)
        return _of_many(self, "probabilities_many", run, reads, (sequences, lengths, budget))

    def last_many(
        self,
        sequences: Iterable[ArrayLike | str],
        *,
        lengths: ArrayLike | None = None,
        reads: str | None = None,
        budget: int | None = None,
    ) -> Array:
        """Return the output of the last step of many sequences, in the order in which they are given.

        Parameters
        ----------
        sequences, lengths, budget
            As for `predict_many`.
        reads : {"last", "final", "mean", "max"}, optional
            As for `last`.

        Returns
        -------
        array, shape (number of sequences, num_directions * hidden_size)

        Raises
        ------
        ArgumentError, ShapeError, DTypeError, VocabularyError, BackendMismatchError, DeviceError
            As for `predict_many`.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rb.RNN.init(3, 4).last_many([[0, 2], [1], []]).shape
        (3, 4)
        """
        run = partial(self.last, reads=reads)
        return _of_many(self, "last_many", run, "last", (sequences, lengths, budget))


def _of_many(
    rnn: LanguageModel, method: str, run: Callable[..., Array], reads: str, given: tuple[Any, Any, int | None]
) -> Any:
    """Return the results of a method for many sequences in their order."""
    placed, (sequences, lengths, budget) = rnn.placed, given
    require_no_noise(placed, method)
    if budget is not None:
        require_integer("budget", budget, 1)
    steps_of = steps_within(budget, partial(batch_steps, placed))
    found: list[Any] = []
    held = windows(sequences, lengths, placed.vocabulary, steps_of)
    for window, steps in chain([next(held, (NONE, 1))], held):
        known = required(placed, window)
        packed = list(packs(known.lengths, steps)) or [NONE.lengths]
        result = _of_window(placed, run, known, packed, reads)
        if reads == "steps" and lengths is None:
            found += [result[start:stop, ...] for start, stop in pairwise(known.offsets.tolist())]
        else:
            found.append(result)
        del window, known, result  # or they would be held while the next ones are made
    if reads == "steps" and lengths is None:
        return found
    with placed.on_device():
        return found[0] if len(found) == 1 else placed.placement.backend.xp.concat(found)


def _of_window(placed: Placed, run: Callable[..., Array], window: Ragged, chosen: list[Host], reads: str) -> Array:
    """Return the results for some sequences in their order, those of each step one after another."""
    batch_first = placed.network.batch_first
    found = [run(padded(window, each, batch_first), lengths=window.lengths[each]) for each in chosen]
    with placed.on_device():
        xp, count = placed.placement.backend.xp, len(window.lengths)
        if reads == "steps":
            found = [xp.reshape(part, (prod(part.shape[:2]), *part.shape[2:])) for part in found]
            count, place = int(window.offsets[-1]), source_of(window, chosen, batch_first)
        else:
            place = np.argsort(np.concatenate(chosen))
        return taken_steps(found[0] if len(found) == 1 else xp.concat(found), place, (count,))
