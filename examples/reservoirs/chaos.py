"""Two chaotic systems, integrated in NumPy: the Lorenz system of 1963, and the delay equation of Mackey and Glass.

Lorenz         dx/dt = 10 (y - x),   dy/dt = x (28 - z) - y,   dz/dt = x y - 8/3 z
Mackey-Glass   dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x(t)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3
DELAY, DECAY = 17.0, 0.1
DISTANCE = 1e-6
"""Of two states whose parting is measured."""
ALIGNED = 500
"""Spans until the difference of two states points where it grows fastest."""


@dataclass(frozen=True)
class System:
    """A system that is advanced by one span of time after the other."""

    name: str
    dt: float
    """The time from one sample to the next."""
    lyapunov_time: float
    """The time in which a small error grows e-fold, as `python compare.py systems` measures it."""
    span: float
    parts: int
    """The steps of the integration in one span."""
    start: Callable[[int], Any]
    """The first state, for a number of parts."""
    advance: Callable[[Any, int], Any]
    """The state one span after another, which may have more parts, for a number of parts."""
    samples: Callable[[Any, int], Any]
    """What is seen of a span that ended in a state, (spans, features)."""

    def series(self, steps: int, parts: int | None = None, state: Any = None) -> Any:
        """Return samples, (steps, features), that follow a state; by default one on the attractor."""
        parts = parts or self.parts
        if state is None:
            state = self.settled(parts)
        seen: list[Any] = []
        for _ in range(-(-steps // round(self.span / self.dt))):
            state = self.advance(state, parts)
            seen.append(self.samples(state, parts))
        return np.concatenate(seen)[:steps]

    def settled(self, parts: int | None = None, spans: int = 1000) -> Any:
        """Return the state that is reached from the first one after some spans."""
        parts = parts or self.parts
        state = self.start(parts)
        for _ in range(spans):
            state = self.advance(state, parts)
        return state

    def exponent(self, spans: int, state: Any = None) -> float:
        """Return the largest Lyapunov exponent, per unit of time, along what follows a state.

        It is the mean rate at which a second state, set back to a small distance after each span, parts from the first:
        G. Benettin, L. Galgani and J.-M. Strelcyn, Phys. Rev. A 14, 2338 (1976).
        """
        state = self.settled() if state is None else state
        apart, growth = np.full_like(state, DISTANCE), []
        for _ in range(ALIGNED + spans):
            other = self.advance(state + apart, self.parts)
            state = self.advance(state, self.parts)
            apart = other - state
            size = np.linalg.norm(apart)
            growth.append(np.log(size / DISTANCE))
            apart *= DISTANCE / size
        return float(np.mean(growth[ALIGNED:]) / self.span)


def lorenz_slope(x: float, y: float, z: float) -> tuple[float, float, float]:
    return SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z


def lorenz_after(state: Any, parts: int) -> Any:
    """Return the state of the Lorenz system 0.02 later, by the classical method of Runge and Kutta."""
    h, (x, y, z) = 0.02 / parts, state.tolist()
    for _ in range(parts):
        ax, ay, az = lorenz_slope(x, y, z)
        bx, by, bz = lorenz_slope(x + h / 2 * ax, y + h / 2 * ay, z + h / 2 * az)
        cx, cy, cz = lorenz_slope(x + h / 2 * bx, y + h / 2 * by, z + h / 2 * bz)
        dx, dy, dz = lorenz_slope(x + h * cx, y + h * cy, z + h * cz)
        x += h / 6 * (ax + 2 * bx + 2 * cx + dx)
        y += h / 6 * (ay + 2 * by + 2 * cy + dy)
        z += h / 6 * (az + 2 * bz + 2 * cz + dz)
    return np.array([x, y, z])


def mackey_glass_after(past: Any, parts: int) -> Any:
    """Return x over the next delay, (parts + 1,), from x over one.

    Its delayed term is known by then, so that x(t) exp(0.1 t) is an integral, and Simpson's rule gives that at every
    point: over two intervals of three points, and over the first of them by the same parabola.
    """
    h, past = DELAY / parts, past[:: (len(past) - 1) // parts]
    grown = np.exp(DECAY * h * np.arange(parts + 1))
    slope = grown * 0.2 * past / (1 + past**10)
    first, middle, last = slope[:-1:2], slope[1::2], slope[2::2]
    integral = np.zeros(parts + 1)
    integral[2::2] = np.cumsum(h / 3 * (first + 4 * middle + last))
    integral[1::2] = integral[:-1:2] + h / 12 * (5 * first + 8 * middle - last)
    return (past[-1] + integral) / grown


LORENZ = System(
    name="Lorenz",
    dt=0.02,
    lyapunov_time=1 / 0.906,
    span=0.02,
    parts=8,
    start=lambda parts: np.array([1.0, 1.0, 20.0]),
    advance=lorenz_after,
    samples=lambda state, parts: state[None],
)
MACKEY_GLASS = System(
    name="Mackey-Glass",
    dt=1.0,
    lyapunov_time=1 / 0.00516,
    span=DELAY,
    parts=170,
    start=lambda parts: np.full(parts + 1, 1.2),
    advance=mackey_glass_after,
    samples=lambda state, parts: state[parts // 17 :: parts // 17, None],
)
SYSTEMS = (LORENZ, MACKEY_GLASS)
