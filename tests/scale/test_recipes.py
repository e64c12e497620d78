"""The blocks of docs/how_to/many_machines.md, in their order; that of Spark where it is installed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "many_machines.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    for package in ("dask.array", "dask.bag", "distributed", "xarray", "joblib", "pandas"):
        pytest.importorskip(package)
    import dask

    found: dict[str, Any] = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="threads"):
        patch.chdir(tmp_path_factory.mktemp("recipes"))
        for block in BLOCKS:
            if not block.startswith("# needs "):
                exec(compile(block, "many_machines.md", "exec"), found)
        found["ids_of_bag"] = found["ids_of_bag"].compute(scheduler="sync")
        found["classes"] = found["classes"].compute()
        yield found


def block_of(package: str) -> str:
    (block,) = (block for block in BLOCKS if block.startswith(f"# needs {package}\n"))
    return str(block)


def column(sequences: list[Any]) -> np.ndarray[Any, Any]:
    """Return an array of objects, as libraries make of a column of lists."""
    found = np.empty(len(sequences), object)
    found[:] = sequences
    found.flags.writeable = False
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


def test_what_ray_and_spark_call_without_them(names: dict[str, Any]) -> None:
    pd = pytest.importorskip("pandas")
    held, ids = names["sequences"][:90], names["ids"][:90]
    found = names["Predictor"]("model.npz", "numpy")({"id": np.arange(90), "tokens": column(held)})
    np.testing.assert_array_equal(found["id"], np.arange(90))
    np.testing.assert_array_equal(found["class"], ids)
    batches = [pd.Series(held[start : start + 40]) for start in (0, 40, 80)]
    found = list(names["labels_of"](iter(batches)))
    assert [len(each) for each in found] == [40, 40, 10]
    np.testing.assert_array_equal(pd.concat(found), ids)


@pytest.mark.filterwarnings("ignore")
def test_spark(names: dict[str, Any]) -> None:
    sql = pytest.importorskip("pyspark.sql")
    spark = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    rows = [(k, each.tolist()) for k, each in enumerate(names["sequences"])]
    try:
        names["frame"] = spark.createDataFrame(rows, "id long, tokens array<int>").repartition(3)
        exec(compile(block_of("pyspark"), "many_machines.md", "exec"), names)
        found = {row["id"]: row["label"] for row in names["labels"].collect()}
    finally:
        spark.stop()
    np.testing.assert_array_equal([found[k] for k in range(1000)], names["ids"])


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
