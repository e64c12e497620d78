"""Kernels in PTX, of a few statements, to try the interpreter with."""

from typing import Any

import numpy as np
import ptx

THREADS = 64

# Each thread has its number in %r1, the address of its word of the array in %rd2, and that of shared memory in %r2.
KERNEL = """
.extern .shared .align 16 .b8 memory[];
.visible .entry test(
	.param .u64 test_param_0
)
{{
	.reg .pred 	%p<9>;
	.reg .f32 	%f<32>;
	.reg .b32 	%r<64>;
	.reg .b64 	%rd<9>;
	ld.param.u64 	%rd1, [test_param_0];
	cvta.to.global.u64 	%rd1, %rd1;
	mov.u32 	%r1, %tid.x;
	mul.wide.u32 	%rd2, %r1, 4;
	add.s64 	%rd2, %rd1, %rd2;
	mov.u32 	%r2, memory;
	mad.lo.s32 	%r2, %r1, 4, %r2;
	xor.b32 	%r3, %r1, 33;
	mov.u32 	%r4, memory;
	mad.lo.s32 	%r4, %r3, 4, %r4;
	setp.lt.u32 	%p1, %r1, 40;
{}
$END:
	ret;
}}
"""


def start(body: str, seed: int = 1, *, blocks: int = 1, shared: int = 4 * THREADS, array: Any = None) -> Any:
    """Run statements of PTX on an array of a word for each thread, and return it."""
    array = np.arange(THREADS, dtype=np.uint32) if array is None else array
    ptx.start(KERNEL.format(body), (blocks, THREADS, shared), [array], seed)
    return array


def aligned(size: int) -> Any:
    """Return an array that begins at a multiple of 16 bytes."""
    room = np.zeros(size + 4, np.uint32)
    begin = -room.ctypes.data % 16 // 4
    return room[begin : begin + size]
