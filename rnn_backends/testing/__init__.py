"""Tests of a backend: the float64 reference, its error bound, and the class that a backend must pass.

    from rnn_backends.testing import BackendConformance

    class TestMyBackend(BackendConformance):
        backend = "mine"

The class needs no pytest, but its methods are named and written for it.
"""

from rnn_backends.testing.cases import Case as Case
from rnn_backends.testing.cases import cases as cases
from rnn_backends.testing.conformance import BackendConformance as BackendConformance
from rnn_backends.testing.networks import reference_network as reference_network
from rnn_backends.testing.records import Record as Record
from rnn_backends.testing.records import records as records
from rnn_backends.testing.reference import Bounded as Bounded
from rnn_backends.testing.reference import excess as excess
from rnn_backends.testing.reference import reference as reference
