"""The elementwise activations as Numba functions without branches, so that loops over them become vector code.

tanh is right to within 1.21 units in the last place, at every float32: `tests/benchmarks/ulp.py` looks at each.
The polynomials are Chebyshev interpolants: of (exp(r) - 1 - r) / r^2 in r, up to log(2) / 2, and of
(tanh(a) / a - 1) / a^2 in a^2, up to 0.4; of the degrees from which on rounding alone is seen.
"""

from math import log
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

COMPILED: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}
"""x / 0 is no exception, and a product and a sum may be rounded once."""

INLINED = {**COMPILED, "forceinline": True}
"""For what is called at every step: the calls alone, with all that they hand over, would take half of its time."""


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def polynomial(coefficients: Any, x: Any) -> Any:
    """Evaluate a polynomial, its highest coefficient first: every other term apart, for half of the waiting."""
    square, value, other = x * x, coefficients[0], coefficients[1]
    for i in range(2, len(coefficients)):
        value, other = other, value * square + coefficients[i]
    return value * x + other


def exponentials(float_: Any, int_: Any, log_2: tuple[float, float], above: float, of_exp: Any, of_tanh: Any) -> Any:
    """Return (tanh, exp, expm1) for a float type; tanh is 1 from `above` on, log_2 is in two parts."""
    info = np.finfo(float_)
    bits, bias = info.nmant, 1 - int(info.minexp)
    shift = float_(1.5 * 2**bits)  # added to a number below 2^bits, it leaves its integer in the lowest bits
    shift_bits, sign_bit = int(shift.view(int_)), int(int_(-1) << (info.bits - 1))
    one, two, per_log_2, high, low = (float_(value) for value in (1, 2, 1 / log(2), *log_2))
    above, small = float_(above), float_(0.625)
    lowest, highest = float_(1.1 * log(info.smallest_subnormal)), float_(1.1 * log(info.max))  # 0 and infinity
    of_exp, of_tanh = tuple(map(float_, of_exp)), tuple(map(float_, of_tanh))

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def reduced(x: Any) -> Any:
        """Return exp(r) - 1 and the integer k of x = k log(2) + r."""
        shifted = float_(x * per_log_2 + shift)
        k = float_(shifted - shift)
        r = float_((x - k * high) - k * low)
        return polynomial(of_exp, r) * (r * r) + r, int_(shifted.view(int_) - shift_bits)

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def power_of_2(k: Any) -> Any:
        return int_(int_(k + bias) << bits).view(float_)

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def tanh(x: Any) -> Any:
        a = abs(x)
        a = above if a > above else a
        m, k = reduced(a + a)
        s = power_of_2(k)
        far = one - two / (m * s + (s + one))
        square = a * a
        near = polynomial(of_tanh, square) * square * a + a
        value = float_(near if a < small else far)
        return int_(value.view(int_) | (float_(x).view(int_) & sign_bit)).view(float_)

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def exp(x: Any) -> Any:
        x = highest if x > highest else x
        x = lowest if x < lowest else x
        m, k = reduced(x)
        half = int_(k >> 1)  # in two steps, for 2^k may be subnormal or infinite
        return (m + one) * power_of_2(half) * power_of_2(int_(k - half))

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def expm1(x: Any) -> Any:
        """For x <= 0."""
        x = -two * above if x < -two * above else x
        m, k = reduced(x)
        s = power_of_2(k)
        return m * s + (s - one)

    return tanh, exp, expm1


FLOAT32 = exponentials(
    np.float32, np.int32, (0.693145751953125, 1.4286068203094172e-6), 9.1,
    (1.9891080e-4, 1.3933731e-3, 8.3333105e-3, 4.1666463e-2, 0.16666667, 0.5),
    (2.2695018e-3, -8.3231870e-3, 2.1762503e-2, -5.3958461e-2, 0.13333300, -0.33333334),
)  # fmt: skip
FLOAT64 = exponentials(
    np.float64, np.int64, (0.6931471803691238, 1.9082149292705877e-10), 19.1,
    (2.09147553258932e-09, 2.5105312729622103e-08, 2.755727347871858e-07, 2.755725517000089e-06,
     2.480158732567746e-05, 0.0001984126987500228, 0.0013888888888883711, 0.008333333333326084,
     0.04166666666666667, 0.1666666666666667, 0.5),
    (-2.3855793111704252e-06, 1.2088687226216899e-05, -3.696052230333826e-05, 9.597236318160513e-05,
     -0.00023886464788549952, 0.0005899759192143973, -0.0014558274668454265, 0.0035921274106953164,
     -0.008863235493441451, 0.02186948853488776, -0.053968253968231024, 0.13333333333333316, -0.3333333333333333),
)  # fmt: skip


def by_type(place: int) -> Any:
    """Return a function that is that of the type of its argument."""

    def function(x: Any) -> Any:
        raise NotImplementedError  # Numba calls what `choose` returns instead

    @overload(function, jit_options=COMPILED)  # type: ignore[untyped-decorator]
    def choose(x: Any) -> Any:
        chosen = (FLOAT32 if x == types.float32 else FLOAT64)[place]

        def call(x: Any) -> Any:
            return chosen(x)

        return call

    return function


tanh, exp, expm1 = (by_type(place) for place in range(3))
