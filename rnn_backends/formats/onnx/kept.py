"""The memory that the constants of a graph hold at the same time, and the network that is made of them."""

from weakref import finalize

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way

_FLOOR = 2**25
_TIMES = 2
"""What a file may hold in memory, in times its size: its tensors, and the copies that a model keeps of them."""
_SMALL = 2**12
"""Arrays of fewer bytes are counted for good, as to know when each of them goes would take as much again."""


class Kept:
    """The bytes of the constants that a graph has read or computed and not let go of, and of copies of them.

    An account sums up what is ever taken, which bounds the work; this bounds the memory, and so more closely.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._owners: set[int] = set()
        self.nbytes = 0
        self.widened = 0
        """How many more bytes tensors have in the dtype that the graph computes in than in the file."""

    def take(self, what: str, nbytes: int) -> None:
        """Check that so many bytes more may be held."""
        most = _FLOOR + _TIMES * (self._account.size + self.widened)
        if self.nbytes + nbytes > most:
            msg = (
                f"{what} would take {nbytes} bytes beside {self.nbytes}, more than the {most} that a file of "
                f"{self._account.size} bytes may hold at the same time; {way('weights_alone')}."
            )
            raise FormatError(msg)

    def copied(self, what: str, nbytes: int) -> None:
        """Count a copy that the model keeps."""
        self.take(what, nbytes)
        self.nbytes += nbytes

    def hold(self, array: Host) -> Host:
        """Return an array that is counted for as long as it is there, or a view of it."""
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        if id(owner) in self._owners:
            return array
        if owner.nbytes >= _SMALL:
            self._owners.add(id(owner))
            finalize(owner, self._gone, id(owner), owner.nbytes).atexit = False
        if owner.nbytes >= _SMALL or owner is array:
            self.nbytes += owner.nbytes
        return array

    def _gone(self, owner: int, nbytes: int) -> None:
        self._owners.discard(owner)
        self.nbytes -= nbytes
