"""Tests of a backend: the float64 reference, its error bound, and the class that a backend must pass.

    from rnn_backends.testing import BackendConformance

    class TestMyBackend(BackendConformance):
        backend = "mine"

The class needs no pytest, but its methods are named and written for it.
"""

from rnn_backends.testing.cases import Case, cases
from rnn_backends.testing.conformance import BackendConformance
from rnn_backends.testing.networks import reference_network
from rnn_backends.testing.records import Record, records
from rnn_backends.testing.reference import Bounded, excess, reference

__all__ = [
    "BackendConformance",
    "Bounded",
    "Case",
    "Record",
    "cases",
    "excess",
    "records",
    "reference",
    "reference_network",
]
