"""`BackendConformance`: the tests that a backend must pass."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from rnn_backends.backends.selection import Placement, get_backend, owner_of, parse, use_backend
from rnn_backends.backends.transfer import to_numpy
from rnn_backends.core.arrays import Array
from rnn_backends.core.linear import Linear
from rnn_backends.core.messages import got, shown
from rnn_backends.model.rnn import RNN
from rnn_backends.testing.cases import ACTIVATIONS, Case, Draw, cases
from rnn_backends.testing.networks import reference_network
from rnn_backends.testing.records import Record, records
from rnn_backends.testing.reference import Bounded, excess, reference

RAGGED = [7, 0, 3]


def flat(results: Any) -> list[Any]:
    """Return results as a list, those of cells of several sizes one by one."""
    return [part for each in results for part in (each if type(each) is tuple else (each,))]


def valid(wanted: Any, steps: Any) -> Bounded:
    """Return what is wanted, 0 beyond the lengths."""
    return Bounded(*(np.where(steps[..., None], part, 0.0) for part in wanted))


class BackendConformance:
    """The tests of a backend; subclass it and name the backend.

    It needs no pytest, but its methods are named and written for it.

    Attributes
    ----------
    backend : str
        ``"name"`` or ``"name:device"``.

    Examples
    --------
    >>> from rnn_backends.testing import BackendConformance
    >>> class TestMine(BackendConformance):
    ...     backend = "numpy"
    >>> TestMine().test_record()
    """

    backend = "numpy"

    @property
    def place(self) -> Placement:
        """The backend and device under test; a backend that cannot be loaded fails here."""
        return parse(self.backend, "BackendConformance.backend")

    def dtypes(self) -> tuple[str, ...]:
        """Return the dtypes to test, all that the backend has."""
        return tuple(self.place.backend.dtypes())

    def model(self, case: Case, dtype: str, readout: Linear | None = None, **options: Any) -> RNN:
        """Return the network of a case on the backend."""
        with use_backend("numpy"):
            host = RNN(case.layers, readout, **options)
        return host.to(self.backend, dtype)

    def run(self, case: Case, dtype: str) -> tuple[Array, Array]:
        """Run a case on the backend."""
        return self.model(case, dtype)(case.x, case.h_0, lengths=case.lengths, mask=case.mask)

    def excesses(self, dtype: str) -> Iterator[tuple[str, float]]:
        """Yield each feature with its worst error, in units of the bound on rounding."""
        for feature, case in cases(dtype).items():
            wanted = reference(*case, dtype=dtype)
            got = self.run(case, dtype)
            yield feature, max(excess(to_numpy(a), b) for a, b in zip(flat(got), flat(wanted), strict=True))
        for part, record in records(dtype).items():
            yield f"network: {part}", self.excess_of(record, dtype)

    def excess_of(self, record: Record, dtype: str) -> float:
        """Return the worst error of the results of a whole network, in units of the bound on rounding."""
        rnn, wanted = RNN.from_network(record.network, self.place, dtype), reference_network(*record, dtype=dtype)
        given: Any = {"lengths": record.lengths, "mask": record.mask}
        output, h_n = rnn(record.x, record.h_0, **given)
        logits, p = rnn.logits(record.x, record.h_0, **given), rnn.probabilities(record.x, record.h_0, **given)
        results = [(output, wanted.output), *zip(flat((h_n,)), flat((wanted.h_n,)), strict=True)]
        if rnn.reads == "steps":
            steps = np.arange(len(record.x))[:, None] < (record.lengths or [len(record.x)] * record.x.shape[1])
            results += [(logits, valid(wanted.logits, steps)), (p, valid(wanted.probabilities, steps))]
        else:
            last = rnn.last(record.x, record.h_0, **given)
            results += [(logits, wanted.logits), (p, wanted.probabilities), (last, wanted.read)]
        return max(excess(to_numpy(actual), bound) for actual, bound in results)

    def ragged(self, dtype: str) -> Case:
        """Return a case with padding, in both directions."""
        return Draw(dtype, 1).case(sides="fb", layers=2, h_0=True, lengths=RAGGED)

    def test_record(self) -> None:
        """The backend, or the one whose arrays it uses, owns the arrays that it makes, on the device asked for."""
        backend, device = self.place
        host = np.array([[1.5, -2.0], [0.25, 3.0]], np.float32)
        array = backend.from_host(host, "float32", device)
        owner = owner_of(array)
        assert getattr(owner, "xp", None) is backend.xp, (
            f"`owns` of {owner and shown(owner.name)} claims what {self.backend} made, {got(array)}"
        )
        assert backend.device_of(array) == device, f"it was made on {backend.device_of(array)}, not on {device}"
        assert device in backend.device_names()
        assert not backend.owns([1.0]), "`owns` claims a list"
        is_host = backend is get_backend("numpy")
        assert is_host or not backend.owns(host), "`owns` claims NumPy's arrays, which are the user's on the host"
        assert "float32" in backend.dtypes()
        np.testing.assert_array_equal(backend.to_numpy(array), host)

    def test_parity(self) -> None:
        """Every feature in every dtype is within the rounding error bound of the float64 reference."""
        for dtype in self.dtypes():
            wrong = {feature: worst for feature, worst in self.excesses(dtype) if not worst <= 1.0}
            assert not wrong, f"{self.backend}, {dtype}, in units of the bound: {wrong}"

    def test_results_stay(self) -> None:
        """Every result is of the backend, on the device and in the dtype of the model."""
        backend, device = self.place
        for dtype in self.dtypes():
            rnn = self.model(self.ragged(dtype), dtype, Linear(Draw(dtype, 2).normal(3, 10)))
            x, h_0 = self.ragged(dtype).x, self.ragged(dtype).h_0
            results = [
                *rnn(x, h_0, lengths=RAGGED),
                rnn.logits(x),
                rnn.probabilities(x),
                rnn.last(x, lengths=RAGGED),
                rnn.logits(x, lengths=RAGGED, reads="mean"),
                rnn.loss(x, np.zeros(3, int), reads="max"),
                *rnn.trace(x).values(),
            ]
            for result in [*results, rnn.loss(x, np.zeros((7, 3), int))]:
                assert backend.owns(result), f"a result is of {type(result)}, which `owns` does not claim"
                assert backend.device_of(result) == device, f"a result is on {backend.device_of(result)}, not {device}"
                assert result.dtype == backend.dtype(dtype), f"a result is {result.dtype}, not {dtype}"
            assert backend.owns(rnn.predict(x))

    def test_splitting_changes_nothing(self) -> None:
        """A sequence in two chunks, the state carried over, gives the results of the whole."""
        for dtype in self.dtypes():
            case = Draw(dtype, 3).case(layers=2, h_0=True)
            (output, h_n), rnn = reference(*case, dtype=dtype), self.model(case, dtype)
            for cut in (0, 1, 4, 7):
                first, state = rnn(case.x[:cut], case.h_0)
                second, last = rnn(case.x[cut:], state)
                assert excess(np.concatenate([to_numpy(first), to_numpy(second)]), output) <= 1.0
                assert excess(to_numpy(last), h_n) <= 1.0

    def test_permuting_the_batch_permutes_the_result(self) -> None:
        """Sequences of a batch do not influence each other."""
        for dtype in self.dtypes():
            case, order = self.ragged(dtype), [2, 0, 1]
            output, h_n = reference(*case, dtype=dtype)
            h_0 = np.asarray(case.h_0)[:, order]
            permuted = Case(case.layers, case.x[:, order], h_0, [RAGGED[i] for i in order])
            got = self.run(permuted, dtype)
            for actual, wanted in zip(got, (output, h_n), strict=True):
                moved = Bounded(wanted.value[:, order], wanted.error[:, order])
                assert excess(to_numpy(actual), moved) <= 1.0

    def test_padding_changes_nothing(self) -> None:
        """Neither the values nor the amount of padding change a result."""
        for dtype in self.dtypes():
            case = self.ragged(dtype)
            padded = np.full((9, *case.x.shape[1:]), np.nan, case.x.dtype)
            for b, length in enumerate(RAGGED):
                padded[:length, b] = case.x[:length, b]
            output, h_n = self.run(case._replace(x=padded), dtype)
            wanted, wanted_h_n = reference(*case, dtype=dtype)
            assert excess(to_numpy(output)[:7], wanted) <= 1.0
            assert not to_numpy(output)[7:].any()
            assert excess(to_numpy(h_n), wanted_h_n) <= 1.0

    def test_nan_stays_in_its_sequence(self) -> None:
        """A NaN reaches the steps after it in its sequence, and nothing else."""
        for activation in ACTIVATIONS:
            case = Draw("float32", 4).case(layers=2, activation=activation)
            wanted, _ = reference(*case, dtype="float32")
            case.x[2, 1, 0] = np.nan
            wanted.value[2:, 1] = np.nan
            assert excess(to_numpy(self.run(case, "float32")[0]), wanted) <= 1.0, activation

    def test_arguments_are_not_modified(self) -> None:
        """Neither parameters nor arguments change, and the result shares no memory with them."""
        case = self.ragged("float32")
        rnn, backend = self.model(case, "float32"), self.place.backend
        moved = [backend.from_host(np.asarray(a), "float32", self.place.device) for a in (case.x, case.h_0)]
        before = [to_numpy(array).copy() for array in moved]
        first = [to_numpy(result).copy() for result in rnn(*moved, lengths=RAGGED)]
        second = [to_numpy(result) for result in rnn(*moved, lengths=RAGGED)]
        for array, copy in zip([*moved, *second], [*before, *first], strict=True):
            np.testing.assert_array_equal(to_numpy(array), copy)

    def test_layouts(self) -> None:
        """Batch first and unbatched are the same computation."""
        case = Draw("float32", 5).case(sides="fb", layers=2, h_0=True, lengths=RAGGED)
        output, h_n = reference(*case, dtype="float32")
        swapped = self.model(case, "float32", batch_first=True)(case.x.swapaxes(0, 1), case.h_0, lengths=RAGGED)
        assert excess(to_numpy(swapped[0]).swapaxes(0, 1), output) <= 1.0
        assert excess(to_numpy(swapped[1]), h_n) <= 1.0
        single = self.model(case, "float32")(case.x[:, 0], np.asarray(case.h_0)[:, 0])
        assert excess(to_numpy(single[0]), Bounded(output.value[:, 0], output.error[:, 0])) <= 1.0
        assert excess(to_numpy(single[1]), Bounded(h_n.value[:, 0], h_n.error[:, 0])) <= 1.0

    def test_readout(self) -> None:
        """Logits, probabilities, predictions and loss follow from the states."""
        draw = Draw("float32", 6)
        case, readout = draw.case(lengths=RAGGED), Linear(draw.normal(3, 5), draw.normal(3))
        rnn = self.model(case, "float32", readout)
        states = to_numpy(rnn(case.x, lengths=RAGGED)[0]).astype(np.float64)
        z = states @ readout.weight.T.astype(np.float64) + readout.bias
        p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
        targets = draw.random.integers(0, 3, (7, 3))
        valid = np.arange(7)[:, None] < RAGGED
        loss = -np.log(np.take_along_axis(p, targets[..., None], -1))[..., 0][valid].mean()
        got: dict[str, tuple[Any, Any, int]] = {
            "logits": (rnn.logits(case.x, lengths=RAGGED), z, 0),
            "probabilities": (rnn.probabilities(case.x, lengths=RAGGED), p, 0),
            "predict": (rnn.predict(case.x, lengths=RAGGED), z.argmax(axis=-1), -1),
            "loss": (rnn.loss(case.x, targets, lengths=RAGGED), loss, 0),
        }
        for method, (actual, inside, beyond) in got.items():
            mask: Any = {0: True, 2: valid, 3: valid[..., None]}[np.ndim(inside)]
            wanted = np.where(mask, inside, beyond)
            np.testing.assert_allclose(to_numpy(actual), wanted, rtol=0, atol=64 * 2**-24, err_msg=method)
