"""Every backend passes the class that third parties' backends must pass."""

import pytest

from rnn_backends.testing import BackendConformance


class TestConformance(BackendConformance):
    @pytest.fixture(autouse=True)
    def _choose(self, backend: str) -> None:
        self.backend = backend
