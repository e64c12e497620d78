"""What the shim shows: errors of order, of memory and of waiting, in kernels of its own: `pytest --kernels`."""

from collections.abc import Iterator
from typing import Any

import ml_dtypes  # noqa: F401  # gives NumPy bfloat16
import numpy as np
import pytest
import shim

SEEDS = range(1, 6)
THREADS = 32
DTYPES = {"unsigned short": np.uint16, "float": np.float32, "double": np.float64}


@pytest.fixture(scope="module", autouse=True)
def compiled(request: pytest.FixtureRequest) -> Iterator[None]:
    if not request.config.getoption("--kernels"):
        pytest.skip("the shim is run with --kernels, which needs g++")
    yield
    shim.clear()


def launch(body: str, seed: int, *arrays: Any, blocks: int = 2, shared: int = 0, **macros: Any) -> None:
    """Run the kernel `test` of blocks of one warp."""
    macros = {"DOUBLE": 0, "NUMBER": "float", "CHUNK": 1, **macros}
    shim.run(body, "test", macros, (blocks, THREADS, shared), arrays, seed)


def zeros(dtype: Any = np.float32, size: int = THREADS) -> Any:
    return np.zeros(size, dtype)


# Global memory.

# Every thread of block 0 writes a word, then a flag; one of block 1 waits for the flag, then reads the word.
FLAG = """
KERNEL test(NUMBER* data, NUMBER* flags, NUMBER* got) {
  const int i = thread_index();
  if (block_index() == 0) {
    WRITE;
    BEFORE;
    store_relaxed(flags + i, (NUMBER)1);
  } else {
    for (int tries = WAITS; load_relaxed(flags + i) != 1 && --tries > 0;) wait_a_little();
    AFTER;
    got[i] = READ;
  }
}
"""
RELAXED: dict[str, Any] = {"WRITE": "store_relaxed(data + i, (NUMBER)(i + 1))", "READ": "load_relaxed(data + i)"}
PLAIN: dict[str, Any] = {"WRITE": "data[i] = (NUMBER)(i + 1)", "READ": "data[i]"}
FENCES: dict[str, Any] = {"BEFORE": "fence()", "AFTER": "fence()"}
WANTED = np.arange(1, THREADS + 1)


def passed_on(seed: int, dtype: Any = np.float32, **macros: Any) -> Any:
    data, flags, got = zeros(dtype), zeros(dtype), zeros(dtype)
    launch(FLAG, seed, data, flags, got, **macros)
    assert (data == WANTED).all()
    assert (flags == 1).all()
    return got


@pytest.mark.parametrize("number", DTYPES)
@pytest.mark.parametrize("way", [RELAXED, PLAIN], ids=["relaxed", "plain"])
def test_fences_order_words(way: dict[str, str], number: str) -> None:
    for seed in range(20):
        assert (passed_on(seed, DTYPES[number], NUMBER=number, **way, **FENCES) == WANTED).all()


@pytest.mark.parametrize("missing", [("BEFORE",), ("AFTER",), ("BEFORE", "AFTER")], ids=" and ".join)
def test_a_missing_fence_is_caught(missing: tuple[str, ...]) -> None:
    fences = {**FENCES, **dict.fromkeys(missing, "")}
    for seed in SEEDS:
        got = passed_on(seed, **RELAXED, **fences)
        assert set(got - WANTED) > {0}, "the old word was not read"
    assert (passed_on(0, **RELAXED, **fences) == WANTED).all()  # one core shows nothing of it


@pytest.mark.parametrize("part", FENCES)
def test_a_fence_serves_the_thread_that_calls_it(part: str) -> None:
    fences = {**FENCES, part: "if (i % 2) fence()"}
    got = np.array([passed_on(seed, **RELAXED, **fences) for seed in SEEDS])
    assert (got[:, 1::2] == WANTED[1::2]).all()
    assert (got[:, 0::2] != WANTED[0::2]).any()


def test_a_missing_fence_after_plain_stores_is_caught() -> None:
    for seed in SEEDS:
        assert (passed_on(seed, **PLAIN, BEFORE="", AFTER="fence()") == 0).all()


def test_a_fence_after_the_flag_is_caught() -> None:
    late: dict[str, Any] = {"WRITE": "store_relaxed(flags + i, (NUMBER)1)", "BEFORE": "fence()"}
    body = FLAG.replace("store_relaxed(flags + i, (NUMBER)1);\n  }", "store_relaxed(data + i, (NUMBER)(i + 1));\n  }")
    for seed in SEEDS:
        launch(body, seed, zeros(), zeros(), got := zeros(), READ=RELAXED["READ"], AFTER="fence()", **late)
        assert set(got - WANTED) > {0}


def test_who_waits_for_a_plain_store_waits_in_vain() -> None:
    body = FLAG.replace("store_relaxed(flags + i, (NUMBER)1)", "flags[i] = 1")
    give_up = "if (load_relaxed(flags + i) != 1) return"
    for seed in SEEDS:
        data, flags, got = zeros(), zeros(), zeros()
        launch(body, seed, data, flags, got, **RELAXED, BEFORE="", AFTER=give_up, WAITS=500)
        assert (data == WANTED).all()
        assert (flags == 1).all()
        assert (got == 0).all()


@pytest.mark.parametrize("number", DTYPES)
def test_one_word_is_in_order(number: str) -> None:
    """Whoever reads it again sees no older value, and sees the last one before long; each reader for itself."""
    body = """
    KERNEL test(NUMBER* word, NUMBER* seen, int* count) {
      const int block = block_index();
      if (thread_index() > 0) return;
      for (int i = 1; block == 0 && i <= 50; ++i) {
        store_relaxed(word, (NUMBER)i);
        if (load_relaxed(word) != i) count[0] = -1;
        if (i % 5 == 0) wait_a_little();
      }
      for (int& k = count[block]; block > 0 && k < 1000 && (k == 0 || seen[block * 1000 + k - 1] != 50); ++k) {
        seen[block * 1000 + k] = load_relaxed(word);
        wait_a_little();
      }
    }
    """
    for seed in SEEDS:
        word, seen, count = zeros(DTYPES[number], 1), zeros(DTYPES[number], 3000), zeros(np.int32, 3)
        launch(body, seed, word, seen, count, blocks=3, NUMBER=number)
        first, second = (seen[1000 * b : 1000 * b + count[b]].astype(int) for b in (1, 2))
        assert count[0] == 0, "a thread did not see its own store"
        assert word[0] == first[-1] == second[-1] == 50
        assert (np.diff(first) >= 0).all()
        assert (np.diff(second) >= 0).all()
        assert list(first) != list(second)
        assert len(first) < 200 > len(second)


def test_the_same_seed_gives_the_same_order() -> None:
    runs = [passed_on(seed, **RELAXED, BEFORE="", AFTER="").tobytes() for seed in (*SEEDS, *SEEDS)]
    assert runs[:5] == runs[5:]
    assert len(set(runs)) == 5


# What a kernel must never do.


@pytest.mark.parametrize(
    ("statement", "outcome"),
    [
        ("if (thread_index() > 0) block_barrier()", "deadlock"),
        ("((float*)shared_memory())[64] = 0", "outside of shared memory"),
        ("array[-1] = 0", "outside of an array"),
        ("array[32] = 0", "outside of an array"),
        ("store_relaxed(array + 32, 0.f)", "outside of an array"),
        ("store_relaxed(array, 1.f); array[0] = 2", "plain and relaxed stores to one word"),
    ],
)
def test_faults_have_names(statement: str, outcome: str) -> None:
    body = "KERNEL test(float* array, const float* read) { STATEMENT; }"
    for seed in SEEDS:
        with pytest.raises(shim.ShimError, match=outcome):
            launch(body, seed, zeros(), zeros(), shared=256, STATEMENT=statement)


def test_arguments_that_share_memory() -> None:
    """A part of an array that is written is the same memory under another name."""
    body = """
    KERNEL test(float* array, const float* part) {
      const int i = thread_index();
      array[32 + i] = i + 1;
      array[i] = part[i];
    }
    """
    for seed in (0, *SEEDS):
        whole = zeros(size=2 * THREADS)
        launch(body, seed, whole, whole[THREADS:], blocks=1)
        assert (whole == np.tile(WANTED, 2)).all()


# Tensor cores.

TENSOR = """
KERNEL test(const unsigned int* a, const unsigned int* b, float* c) {
  const int row = thread_index() / 4, k = thread_index() % 4;
  const unsigned int left[4] = {a[row * 8 + k], a[(row + 8) * 8 + k], a[row * 8 + k + 4], a[(row + 8) * 8 + k + 4]};
  const unsigned int right[2] = {b[row * 8 + k], b[row * 8 + k + 4]};
  float* const places[4] = {c + row * 8 + 2 * k, c + row * 8 + 2 * k + 1, c + (row + 8) * 8 + 2 * k,
                            c + (row + 8) * 8 + 2 * k + 1};
  float sums[4] = {*places[0], *places[1], *places[2], *places[3]};
  mma(sums, left, right);
  for (int e = 0; e < 4; ++e) *places[e] = sums[e];
}
"""


def multiplied(a: Any, b: Any, c: Any, seed: int = 1, **macros: int) -> Any:
    """Return c + a b^T by a warp, of rows of numbers of 16 bits."""
    launch(TENSOR, seed, a.view(np.uint32), b.view(np.uint32), found := c.copy(), blocks=1, **macros)
    return found


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_warp_multiplies_matrices(dtype: str) -> None:
    """In the layout that PTX's manual gives; small integers are summed exactly."""
    random = np.random.default_rng(0)
    a, b = (random.integers(-8, 9, (rows, 16)).astype(np.float32) for rows in (16, 8))
    c = random.integers(-100, 100, (16, 8)).astype(np.float32)
    for seed in SEEDS:
        found = multiplied(a.astype(dtype), b.astype(dtype), c, seed, **{dtype.upper(): 1})
        np.testing.assert_array_equal(found, c + a @ b.T)


def test_a_tensor_core_cuts_off() -> None:
    """Each number below the last of 24 bits of the largest, and then the sum: toward zero, to float32."""
    a, b, c = np.zeros((16, 16), np.float16), np.ones((8, 16), np.float16), zeros(size=128).reshape(16, 8)
    c[:] = 2.0**23
    a[0, :4], a[1], a[2, :2], a[3, 0] = 0.75, 1, 1.5, -0.75
    found = multiplied(a, b, c, FLOAT16=1)[:, 0] - 2.0**23
    assert found[:5].tolist() == [0, 16, 2, 0, 0]
    c[:] = 2.0**24 - 1
    assert (multiplied(a, b, c, FLOAT16=1)[1] == 2.0**24 + 14).all()


def test_what_is_not_finite_stays_in_its_row_of_a_tensor_core() -> None:
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(rows, 16)).astype(np.float16) for rows in (16, 8))
    a[3, 7], a[9, 0], b[:, 0] = np.nan, np.inf, 0
    found = multiplied(a, b, np.zeros((16, 8), np.float32), FLOAT16=1)
    assert np.isnan(found[[3, 9]]).all()
    assert np.isfinite(np.delete(found, [3, 9], axis=0)).all()
