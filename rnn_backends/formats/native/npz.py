"""NumPy's .npz: a zip file of arrays, and a description beside them."""

import zipfile
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from rnn_backends.core.network import Network
from rnn_backends.formats.assembly import from_described, pack
from rnn_backends.formats.description import KEY
from rnn_backends.formats.made import made
from rnn_backends.formats.names import is_own
from rnn_backends.formats.npy import Npz
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Source

DESCRIPTION = f"__{KEY}__"
NUMBERS = (
    *(f"{order}{kind}" for order in "<>" for kind in ("f2", "f4", "f8", "i2", "i4", "i8", "u2", "u4", "u8")),
    "|i1", "|u1", "|b1",
)  # fmt: skip


def read(source: Source, options: LoadOptions, path: str) -> Network:
    """Read a network."""
    held = Npz(source, lambda name: ("|u1",) if name == DESCRIPTION else NUMBERS)
    own = DESCRIPTION in held.members
    # Beside weights alone there may be texts, such as the characters that ids stand for, and objects, left unread.
    headers = {name: held.header(name) for name in held.members if own or is_own(name) or held.is_of_numbers(name)}
    size = headers.pop(DESCRIPTION).elements if own else 0
    declared = {name: (header.dtype[1:], header.shape) for name, header in headers.items()}
    if not own:
        from rnn_backends.formats.weights import from_weights  # most files of this format are described

        arrays = {name: made(name, declared, held.read)._replace(is_new=True) for name in declared}
        return from_weights(arrays, options, source.account)
    source.account.take("the description of the network", "text", size)
    return from_described(declared, held.read(DESCRIPTION).tobytes(), options, held.read, source.account)


def write(network: Network, file: BinaryIO) -> None:
    """Write a network."""
    arrays, description = pack(network)
    text = np.frombuffer(description.encode(), np.uint8)
    with zipfile.ZipFile(file, "w") as archive:
        # numpy.savez has an option not to pickle from NumPy 2.1 on only.
        for name, array in {**arrays, DESCRIPTION: text}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)
