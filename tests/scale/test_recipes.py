"""The blocks of docs/how_to/many_machines.md, in their order."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "many_machines.md"


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    for package in ("dask.array", "dask.bag", "distributed", "xarray", "joblib"):
        pytest.importorskip(package)
    import dask

    found: dict[str, Any] = {"__name__": "__main__"}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    with dask.config.set(scheduler="threads"):
        for block in blocks:
            if not block.startswith("# needs "):
                exec(compile(block, "many_machines.md", "exec"), found)
        found["ids_of_bag"] = found["ids_of_bag"].compute(scheduler="sync")
        found["classes"] = found["classes"].compute()
    return found


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_every_way_gives_the_same(names: dict[str, Any]) -> None:
    one_by_one = [int(names["rnn"].predict(each)) for each in names["sequences"]]
    for name in ("ids", "same", "ids_of_bag", "ids_of_tasks", "ids_of_joblib"):
        np.testing.assert_array_equal(names[name], one_by_one, err_msg=name)


def test_shapes(names: dict[str, Any]) -> None:
    assert (names["classes"].shape, names["found"].shape) == ((200, 1000), (1000, 9))
    assert dict(names["p"].sizes) == {"place": 5, "day": 40, "output": 9}
    assert np.isfinite(names["entropy"]).all()


def test_columns_of_lists_of_pandas_and_arrow() -> None:
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    rnn = rb.RNN.init(5, 4, output_size=3)
    held = [[0, 1, 2], [], [4]]
    wanted = rnn.predict_many(held, reads="last")
    np.testing.assert_array_equal(rnn.predict_many(pd.Series(held), reads="last"), wanted)
    np.testing.assert_array_equal(
        rnn.predict_many(pd.Series(list(map(np.array, [[0, 1, 2], [0], [4]]))), reads="last")[::2], wanted[::2]
    )
    column = pa.array([[9], *held])[1:]
    found = rnn.predict_many(column.flatten().to_numpy(), lengths=column.value_lengths().to_numpy(), reads="last")
    np.testing.assert_array_equal(found, wanted)
