"""When to measure: multiples of the interval on the wall clock, plus an offset; slept on the monotonic clock.

Aligned ticks keep the phase of every series from restart to restart (design S1). A tick that passed while the last round
still ran is left out, never made up for. When the wall clock is set, ticks follow it: forward at once, and a step back by
less than an interval never gives the same tick twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

SECOND = 1_000_000_000


def next_tick(now_ns: int, interval_ns: int, offset_ns: int = 0) -> int:
    """The first multiple of the interval (plus offset) that lies after `now_ns`; ns since the epoch."""
    return ((now_ns - offset_ns) // interval_ns + 1) * interval_ns + offset_ns


def last_tick(now_ns: int, interval_ns: int, offset_ns: int = 0) -> int:
    """The tick that belongs to `now_ns`: at it or before."""
    return (now_ns - offset_ns) // interval_ns * interval_ns + offset_ns


def due(now_ns: int, last_ns: int, interval_ns: int, offset_ns: int = 0) -> int:
    """The next tick to wait for, when `last_ns` was the last one given.

    Usually the one after now. If the clock was set back a little, the one after the last: the same tick never comes twice.
    If it was set back by more than an interval, the clock is believed.
    """
    tick = next_tick(now_ns, interval_ns, offset_ns)
    if last_ns - interval_ns < tick <= last_ns:
        return last_ns + interval_ns
    return tick


async def ticks(
    interval_ns: int,
    offset_ns: int,
    *,
    wall_ns: Callable[[], int],
    sleep: Callable[[float], Awaitable[None]],
    longest_sleep: float = 1.0,
) -> AsyncIterator[int]:
    """Ticks for ever, as ns since the epoch.

    Sleeps are cut to `longest_sleep` seconds, so that a clock that was set is noticed within that time.
    """
    last = -(1 << 62)
    while True:
        tick = due(wall_ns(), last, interval_ns, offset_ns)
        while (now := wall_ns()) < tick:
            await sleep(min((tick - now) / SECOND, longest_sleep))
            if tick - wall_ns() > 2 * interval_ns:  # the clock was set back
                tick = due(wall_ns(), last, interval_ns, offset_ns)
        last = tick if tick + interval_ns > now else last_tick(now, interval_ns, offset_ns)
        yield last
