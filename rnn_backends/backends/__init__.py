"""The registry of backends: who can run a network, and how one is chosen."""

from rnn_backends.backends.backend import Backend as Backend
from rnn_backends.backends.registry import Registration as Registration
from rnn_backends.backends.registry import list_backends as list_backends
from rnn_backends.backends.registry import register_backend as register_backend
from rnn_backends.backends.selection import get_backend as get_backend
from rnn_backends.backends.selection import use_backend as use_backend
from rnn_backends.backends.transfer import to_numpy as to_numpy
