"""What the interpreter of PTX shows: errors of memory, of order and of waiting, in kernels of its own."""

import numpy as np
import ptx
import ptx.machine
import pytest
import shim
from ptx_kernels import KERNEL, THREADS, aligned, start

STORE, LOAD, BARRIER = "st.shared.u32 [%r2], %r1;", "ld.shared.u32 %r5, [%r4];", "bar.sync 0;"
RESULT = "st.global.u32 [%rd2], %r5;"


def test_words_pass_through_shared_memory() -> None:
    for seed in range(9):
        assert (start(STORE + BARRIER + LOAD + RESULT, seed) == np.arange(THREADS) ^ 33).all()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (STORE + LOAD, "a load of what another thread has stored"),
        (STORE + BARRIER + LOAD + STORE, "a store over what another thread has loaded"),
        (STORE + "st.shared.u32 [%r4], %r1;", "a store over what another thread has stored"),
        ("mov.u32 %r2, memory; " + STORE, "stores of two threads at once"),
        ("mov.u32 %r6, memory; ld.shared.u32 %r5, [%r6]; st.shared.u32 [%r6], %r5;", "another thread has loaded"),
        ("ld.global.u32 %r5, [%rd1]; st.global.u32 [%rd2], %r5;", "a store over what another thread has loaded"),
        ("ld.relaxed.gpu.global.b32 %r5, [%rd1]; st.global.u32 [%rd2], %r5;", "another thread has loaded"),
    ],
    ids=["load after store", "store after load", "store after store", "stores", "loads", "global", "plain and relaxed"],
)
@pytest.mark.parametrize("seed", range(3))
def test_races(body: str, what: str, seed: int) -> None:
    """In shared memory a barrier ends them; in global memory nothing but relaxed accesses may meet."""
    with pytest.raises(ptx.PtxError, match=f"a race: .*{what}"):
        start(body, seed)


def test_relaxed_accesses_may_meet() -> None:
    body = "ld.relaxed.gpu.global.b32 %r5, [%rd1]; st.relaxed.gpu.global.b32 [%rd1], %r5;"
    assert (start(body) == np.arange(THREADS)).all()


def test_halves_of_a_word_are_no_race() -> None:
    body = "mov.u32 %r2, memory; mad.lo.s32 %r2, %r1, 2, %r2; .reg .b16 %rs<4>; cvt.u16.u32 %rs1, %r1; st.shared.u16 [%r2], %rs1;"
    start(body)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("ld.global.u32 %r5, [%rd2+4];", "a load outside of every array, by 1 threads"),
        ("ld.global.u32 %r5, [%rd2+-4];", "a load outside"),
        ("st.global.u32 [%rd2+128], %r1;", "a store outside of every array, by 32 threads"),
        ("ld.shared.u32 %r5, [%r2+4];", "a load outside"),
        ("st.shared.u32 [%r2+-4], %r1;", "a store outside"),
        ("ld.param.u32 %r5, [test_param_0+8];", "a load outside"),
        ("ld.global.u32 %r5, [%rd2+2];", "a misaligned load of 4 bytes"),
        ("st.global.u32 [%rd2+1], %r5;", "a misaligned store of 4 bytes"),
        ("@!%p1 bra $END; ld.global.v2.u32 {%r5, %r6}, [%rd2];", "a misaligned load of 8 bytes"),
        ("@!%p1 bra $END; ld.shared.v4.f32 {%f1, %f2, %f3, %f4}, [%r2];", "a misaligned load of 16 bytes"),
    ],
)
@pytest.mark.parametrize("blocks", [1, 2])
def test_places(body: str, what: str, blocks: int) -> None:
    """Blocks have shared memories side by side here, none of which is another's."""
    with pytest.raises(
        ptx.PtxError, match=what.replace("by 1 ", f"by {blocks} ").replace("by 32", f"by {32 * blocks}")
    ):
        start(body, blocks=blocks, array=aligned(THREADS))


def test_an_array_that_is_only_read() -> None:
    array = np.arange(THREADS, dtype=np.uint32)
    for written in ((), ("array",)):
        struct = shim.Struct(np.array([array.ctypes.data], np.uint64), {"array": array}, written)
        if written:
            ptx.start(KERNEL.format(RESULT), (1, THREADS, 0), [struct])
            assert not array.any()
        else:
            with pytest.raises(ptx.PtxError, match="a store to an array that is only read"):
                ptx.start(KERNEL.format(RESULT), (1, THREADS, 0), [struct])


SHUFFLE = "shfl.sync.bfly.b32 %r5|%p2, %r1, 5, 31, -1;"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (f"@%p1 bra $END; {BARRIER}", "a deadlock: of 64 threads 24 wait at a barrier"),
        (f"@%p1 bra $A; {BARRIER} bra $END;\n$A:\n{BARRIER}", "threads of a block wait at two barriers"),
        (f"@%p1 {BARRIER}", "a deadlock: of 64 threads 40 wait at a barrier"),
        (f"@%p1 bra $END; {SHUFFLE}", "a deadlock: .* 24 wait for the other lanes of a warp, 40 wait no longer"),
        (f"@%p1 {SHUFFLE}", "some lanes of a warp alone"),
        ("shfl.sync.bfly.b32 %r5|%p2, %r1, 5, 31, 65535;", "a shuffle of a part of a warp"),
    ],
    ids=["barrier", "two barriers", "predicate", "shuffle", "predicated shuffle", "mask"],
)
@pytest.mark.parametrize("seed", range(3))
def test_waiting_for_what_does_not_come(body: str, what: str, seed: int) -> None:
    with pytest.raises(ptx.PtxError, match=what):
        start(body, seed)


def test_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptx.machine, "MOST_TURNS", 1000)
    with pytest.raises(ptx.PtxError, match="no end"):
        start("$A:\nbra $A;")


@pytest.mark.parametrize("body", ["add.sat.s32 %r5, %r1, %r1;", "mul.hi.u64 %rd3, %rd1, %rd1;", "bar.warp.sync -1;"])
def test_an_unknown_instruction_is_named(body: str) -> None:
    with pytest.raises(ptx.UnknownInstructionError, match=body.split(maxsplit=1)[0]):
        start(body)


def test_shuffles() -> None:
    for seed in range(5):
        late = f"@%p1 bra $A; add.s32 %r1, %r1, 0;\n$A:\n{SHUFFLE}{RESULT}"
        assert (start(late, seed) == np.arange(THREADS) ^ 5).all()


def test_blocks_that_wait_for_each_other() -> None:
    """The second block writes what the first waits for: none starves."""
    body = """
	mov.u32 	%r6, %ctaid.x;
	setp.eq.u32 	%p2, %r6, 0;
	@!%p2 bra 	$WRITE;
$WAIT:
	ld.relaxed.gpu.global.b32 	%r5, [%rd2];
	setp.lt.u32 	%p3, %r5, 64;
	@%p3 bra 	$WAIT;
	bra.uni 	$END;
$WRITE:
	st.relaxed.gpu.global.b32 	[%rd2], 64;
"""
    for seed in range(5):
        assert (start(body, seed, blocks=2) == THREADS).all()
