"""torch.save's .pt and .pth: a zip file of one pickle and the storages that its tensors lie in.

It is read without torch, and without trust: the members of the zip file, which torch never compresses, are read
where they lie; the pickle is read as data (see `pickled`).
"""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from math import prod

from rnn_backends.core.messages import shown
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.archive import Archive
from rnn_backends.formats.content import HEAD, ZIP, is_of_old_torch
from rnn_backends.formats.made import Made
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Source
from rnn_backends.formats.torch.beside import tensors_of
from rnn_backends.formats.torch.checkpoint import state_dict
from rnn_backends.formats.torch.module import from_module
from rnn_backends.formats.torch.pickled import unpickle
from rnn_backends.formats.torch.saved import Module
from rnn_backends.formats.torch.tensors import ORDERS, Storage, Tensor
from rnn_backends.formats.weights import from_weights

_MEMBER = re.compile(r"data/[0-9]{1,10}|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id")

_NAMED = 1200
"""Bytes of memory that the name of an array takes, with what is recorded of it."""
_TIMES = 4
"""How many times an array may be held that is no larger than others, in float64 among them."""


def read(source: Source, options: LoadOptions, path: str) -> Network:
    """Read a network; bfloat16 becomes float32, exactly."""
    return _read_archive(_archive(source), options)


def _archive(source: Source) -> Archive:
    """Return the members of the zip file, none of which may be other than torch.save writes."""
    _require_zip(source)
    archive = Archive(source, "torch.save", folder=_root)
    for name in archive.members:
        if name != "data.pkl" and not _MEMBER.fullmatch(name):
            msg = f"it holds {shown(name)}, which torch.save does not write."
            raise FormatError(msg)
    return archive


def _root(names: list[str]) -> str:
    """Return the folder that holds the members."""
    roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1:
        msg = f"it must hold one data.pkl; it holds {len(roots)}."
        raise FormatError(msg)
    if f"{roots[0]}constants.pkl" in names:
        msg = f"it is a TorchScript program, and nothing in a file is executed; {way('torch_script')}."
        raise FormatError(msg)
    return roots[0]


def _require_zip(source: Source) -> None:
    """Check that a file begins as a zip file does."""
    begin = source.read(0, min(HEAD, source.size))
    if is_of_old_torch(begin):
        msg = f"it is in torch's format of before 1.6; {way('torch_again')}."
        raise FormatError(msg)
    if not begin.startswith(ZIP):
        msg = "it is no zip file, as those of torch.save are, or is cut short."
        raise FormatError(msg)


def _read_archive(archive: Archive, options: LoadOptions) -> Network:
    if (version := archive.read("version").strip()) != b"3":
        msg = f"its version is {shown(version)}; this version of the package reads 3."
        raise FormatError(msg)
    named = archive.read("byteorder") if "byteorder" in archive.members else b"little"  # torch < 2.1 names none
    if (order := ORDERS.get(named)) is None:
        msg = f"its byteorder must be little or big; got {shown(named)}."
        raise FormatError(msg)
    account = archive.source.account
    before = account.taken["bytes"]
    held, storages = unpickle(archive.read("data.pkl"), account)
    # The bytes of the pickle, its stack and its memo are gone: most of what a checkpoint of many tensors takes.
    account.release("objects", (account.taken["bytes"] - before) // 2)
    for storage in storages.values():
        _require_size(archive, storage)
    state, options = state_dict(held, options, account)

    names: Counter[Tensor] = Counter()

    @cache
    def array(tensor: Tensor) -> Made:
        found = tensor.read(lambda: archive.part(f"data/{tensor.storage.key}"), order)
        return found if names[tensor] == 1 else found._replace(make=cache(found.make), is_new=False)

    if isinstance(state, Module):
        names.update(held for held in state.state_dict().values() if isinstance(held, Tensor))
        _account_for(names, account)
        return from_module(state, options, lambda _, of: array(of.tensor)._replace(dtype=of.dtype.name), account)
    account.take("its names", "bytes", _NAMED * len(state))
    tensors, options = tensors_of(state, options)
    names.update(tensors.values())
    _account_for(names, account)
    return from_weights({name: array(tensor) for name, tensor in tensors.items()}, options, account)


def _account_for(tensors: Iterable[Tensor], account: Account) -> None:
    """Account for what tensors take beside the bytes that are read of them, as those that are expanded do."""
    for tensor in tensors:
        account.take("its tensors", "axes", len(tensor.shape))
        repeated = max(0, prod(tensor.shape) - tensor.span) * tensor.storage.stored.itemsize
        account.take("its tensors", "bytes", _TIMES * repeated)


def _require_size(archive: Archive, storage: Storage) -> None:
    name, size = f"data/{storage.key}", storage.count * storage.stored.itemsize
    if (found := archive.members.get(name)) and found.size != size:
        msg = f"{shown(name)} has {found.size} bytes, but its pickle announces {size}."
        raise FormatError(msg)
    if found is None:
        msg = f"it lacks the member {shown(name)}."
        raise FormatError(msg)
