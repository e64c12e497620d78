"""What the interpreter of PTX computes: each instruction as the PTX ISA describes it."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from ptx.numbers import OF_ELEMENTS
from ptx_kernels import THREADS, aligned, start

RESULT = "st.global.u32 [%rd2], %r5;"


def result(name: str, *values: Any) -> Any:
    with np.errstate(all="ignore"):
        return OF_ELEMENTS[name][0](*values)


def nearest(x: Fraction, kind: Any) -> Any:
    """Return a number that no other is nearer to."""
    guess = kind(float(x))
    return min((np.nextafter(guess, kind(-np.inf)), guess, np.nextafter(guess, kind(np.inf))),
               key=lambda y: (abs(Fraction(float(y)) - x), int(np.atleast_1d(y).view(f"u{y.itemsize}")[0]) & 1))  # fmt: skip


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_fma_rounds_once(kind: Any) -> None:
    random = np.random.default_rng(0)
    a, b = (random.normal(size=2000).astype(kind) for _ in range(2))
    c = (-(a * b) * (1 + random.choice([0.0, 2.0**-12, 1.0], 2000))).astype(kind)
    a[0], b[0], c[0] = 1 + 2.0**-12, 1 + 2.0**-12, 2.0**-60  # between two float32, but for the last
    exact = [Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)) for x, y, z in zip(a, b, c, strict=True)]
    assert (result("fma.rn", a, b, c) == [nearest(x, kind) for x in exact]).all()
    if kind is np.float32:
        for mode, toward in (("fma.rm", -1), ("fma.rz", 0)):
            for x, found in zip(exact, result(mode, a, b, c), strict=True):
                down = toward < 0 or x > 0
                assert (Fraction(float(found)) <= x) if down else (Fraction(float(found)) >= x)
                beyond = np.nextafter(found, np.float32(np.inf if down else -np.inf))
                assert (Fraction(float(beyond)) > x) if down else (Fraction(float(beyond)) < x)


def test_integers() -> None:
    a, b = np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)
    assert result("div", a, b).tolist() == [3, -3, -3, 3]
    assert result("rem", a, b).tolist() == [1, -1, 1, -1]
    assert result("mul.wide", np.array([-(2**31)], np.int32), np.array([2**30], np.int32)).tolist() == [-(2**61)]
    assert result("mul.hi", np.array([-5], np.int32), np.array([715827883], np.int32)).tolist() == [-1]
    ones = np.array([0xFFFFFFFF], np.uint32)
    by = np.array([31, 32, 40], np.uint32)
    assert result("shr", ones, by).tolist() == [1, 0, 0]
    assert result("shr", ones.view(np.int32), by).tolist() == [-1, -1, -1]
    assert result("shl", ones, by).tolist() == [0x80000000, 0, 0]
    assert result("bfi", *(np.uint64(x) for x in (0xABCD, 0x1111, 4, 8))) == 0x1CD1


def test_comparisons_with_nan() -> None:
    nan = np.array([np.nan], np.float32)
    true = {name.removeprefix("setp.") for name in OF_ELEMENTS if name.startswith("setp.") and result(name, nan, nan)}
    assert true == {"equ", "neu", "ltu", "leu", "gtu", "geu", "nan"}


def test_float32_is_as_on_a_gpu() -> None:
    """Of subnormal numbers 0 is made, and NaN of whatever bits is one NaN: the bits of -1 mean something else."""
    given = np.full(THREADS, 0xFFFFFFFF, np.uint32)
    given[1:3] = 0x00000001, 0x80000001
    body = "ld.global.f32 %f1, [%rd2]; {}; st.global.f32 [%rd2], %f2;"
    moved = start(body.format("mov.f32 %f2, %f1"), array=given.copy())
    added = start(body.format("add.ftz.f32 %f2, %f1, 0f80000000"), array=given.copy())
    assert (moved == given).all()
    assert added[:4].tolist() == [0x7FFFFFFF, 0, 0x80000000, 0x7FFFFFFF]


def test_float16_of_nan_is_no_word_that_is_unset() -> None:
    body = """
	.reg .b16 	%rs<2>;
	ld.global.f32 	%f1, [%rd2];
	cvt.rn.f16.f32 	%rs1, %f1;
	cvt.u32.u16 	%r5, %rs1;
"""
    given = np.array([np.nan, 1.0, 65519.0, 65520.0, 2.0**-24, -(2.0**-26)] + [0.0] * 58, np.float32)
    assert start(body + RESULT, array=given).view(np.uint32)[:6].tolist() == [0x7FFF, 0x3C00, 0x7BFF, 0x7C00, 1, 0x8000]


# Products of matrices.  The fragments below are read off the figures of the PTX ISA, "Matrix fragments for mma.m16n8k16":
# of A a register holds two neighbours of a row, of B two of a column, the even one in its lower half.

MATRICES = """
	mul.lo.s32 	%r6, %r1, 4;
	mul.wide.u32 	%rd3, %r6, 4;
	add.s64 	%rd3, %rd1, %rd3;
	ld.global.v4.u32 	{%r10, %r11, %r12, %r13}, [%rd3];
	ld.global.v2.u32 	{%r14, %r15}, [%rd3+1024];
	ld.global.v4.f32 	{%f1, %f2, %f3, %f4}, [%rd3+2048];
	mma.sync.aligned.m16n8k16.row.col.f32.NAME.NAME.f32 	{%f5, %f6, %f7, %f8}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%f1, %f2, %f3, %f4};
	st.global.v4.f32 	[%rd3+2048], {%f5, %f6, %f7, %f8};
"""


def bits(x: Any, name: str) -> Any:
    """Return numbers that are exact in 16 bits as these."""
    if name == "f16":
        return x.astype(np.float16).view(np.uint16)
    return (x.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_products_of_matrices(name: str) -> None:
    random = np.random.default_rng(0)
    words = aligned(3 * 4 * THREADS)
    wanted = []
    for warp in range(2):
        a, b, c = (random.integers(-9, 10, shape).astype(np.float32) for shape in ((16, 16), (16, 8), (16, 8)))
        wanted.append(a @ b + c)
        for lane in range(32):
            row, column, at = lane // 4, 2 * (lane % 4), 4 * (32 * warp + lane)
            rows = [(row, column), (row + 8, column), (row, column + 8), (row + 8, column + 8)]
            words[at : at + 4] = [word for r, k in rows for word in bits(a[r, k : k + 2], name).view(np.uint32)]
            columns = [bits(b[k : k + 2, row].copy(), name).view(np.uint32)[0] for k in (column, column + 8)]
            words[256 + at : 256 + at + 2] = columns
            sums = [c[row, column], c[row, column + 1], c[row + 8, column], c[row + 8, column + 1]]
            words[512 + at : 512 + at + 4] = np.array(sums).view(np.uint32)
    start(MATRICES.replace("NAME", name), array=words)
    found = words[512:].view(np.float32).reshape(2, 8, 4, 2, 2)  # warp, row, pair of columns, half, column
    assert (found.transpose(0, 3, 1, 2, 4).reshape(2, 16, 8) == wanted).all()


@pytest.mark.parametrize("way", ["", ".trans"])
def test_matrices_from_shared_memory(way: str) -> None:
    """Of four matrices of 8 x 8, one below the other, lane i gives the address of row i."""
    body = f"""
	shl.b32 	%r6, %r1, 4;
	mov.u32 	%r2, memory;
	add.s32 	%r2, %r2, %r6;
	mul.wide.u32 	%rd3, %r6, 1;
	add.s64 	%rd3, %rd1, %rd3;
	ld.global.v4.u32 	{{%r10, %r11, %r12, %r13}}, [%rd3];
	st.shared.v4.u32 	[%r2], {{%r10, %r11, %r12, %r13}};
	bar.sync 	0;
	ldmatrix.sync.aligned.m8n8.x4{way}.shared.b16 	{{%r10, %r11, %r12, %r13}}, [%r2];
	st.global.v4.u32 	[%rd3], {{%r10, %r11, %r12, %r13}};
"""
    words = aligned(4 * THREADS)
    words.view(np.uint16)[:] = np.random.default_rng(0).integers(0, 2**16, 8 * THREADS)
    matrices = words.view(np.uint16).reshape(2, 4, 8, 8).copy()
    found = start(body, shared=16 * THREADS, array=words).reshape(2, 32, 4)
    wanted = matrices.swapaxes(2, 3) if way else matrices
    for lane in range(32):
        pairs = wanted[:, :, lane // 4, lane % 4 * 2 : lane % 4 * 2 + 2]
        assert (found[:, lane] == np.ascontiguousarray(pairs).view(np.uint32)[..., 0]).all()
