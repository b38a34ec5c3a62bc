"""Parse and scatter: the one compiled function, and the only place that imports numba.

`scatter` takes what is usual: `key value=number [seconds]` with a key that was seen before, a tile that is hot, a time that is acceptable. At
anything else it stops before the line, and the slow path (`ccstore.ingest`) does that line by `ccmessage.decode`. So order within a batch is
kept, and the kernel never judges what it does not understand.

It is an ordinary Python function as well: `load` compiles it, and tests run it as it is. All indices that come from state or input are
compared with the array they go into.

`python -m ccstore.kernels` compiles it and leaves it in numba's cache (NUMBA_CACHE_DIR).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

KEY = np.dtype([("hash", "i8"), ("offset", "i8"), ("length", "i8"), ("slot", "i4"), ("next", "i4"), ("default", "i8")])
"""A key text (`metric,tag=…` as sent): where it stands in the text array, its slot (< 0: dead), the key that followed it last time, and the
number of the default cluster it was read under."""

POS, LINE, OUT, PREVIOUS, DEFAULT, NOW, OLDEST, KEY_END, HASH, SIZE = range(10)
"""Fields of `state`, int64[10]: position, line, samples in out, key of the last line, default cluster, now, oldest time accepted; with
UNKNOWN: end of the key and its hash; bytes of the body."""

DONE, SLOW, UNKNOWN = range(3)
"""Why `scatter` stopped: end of body; a line it leaves to the slow path; a key it has not seen."""

MAX_PROBES = 64
_POWERS = 10.0 ** np.arange(23)
_EXACT = 1 << 53
_ABOVE = 1.0 + 2.0**-50
_BELOW = 1.0 - 2.0**-50
_HOUR = 3600


def scatter(body, state, keys, text, table, slots, groups, values, out_slots, out_times, out_values):  # type: ignore[no-untyped-def]
    """Applies lines from state[POS] on and says why it stopped; state and out tell how far it came.

    body, text: uint8; keys: KEY; table: int32 (index of a key + 1, 0 = free, a power of two long); slots, groups: `ccstore.registry`;
    values: the arena."""
    pos = state[POS]
    line = state[LINE]
    out = state[OUT]
    previous = state[PREVIOUS]
    default = state[DEFAULT]
    now = state[NOW]
    oldest = state[OLDEST]
    size = state[SIZE]
    mask = table.size - 1
    reason = DONE
    while pos < size:
        first = body[pos]
        if first == 10:
            pos += 1
            line += 1
            continue
        if out >= out_slots.size:
            reason = SLOW
            break

        # ---- the key: the one that followed last time, else by hash
        key = -1
        end = pos
        if previous >= 0:
            guess = keys[previous]["next"]  # of the same default cluster: both stood in one body
            if guess >= 0 and keys[guess]["slot"] >= 0:
                length = keys[guess]["length"]
                offset = keys[guess]["offset"]
                if pos + length < size and body[pos + length] == 32 and offset + length <= text.size:
                    differs = np.uint8(0)
                    for i in range(length):
                        differs |= body[pos + i] ^ text[offset + i]
                    if differs == 0:
                        key = guess
                        end = pos + length
        if key < 0:
            if first == 32 or first == 35:
                reason = SLOW
                break
            hashed = (2166136261 + default * 40503) & 0xFFFFFFFF
            end = pos
            while end < size and body[end] > 32 and body[end] != 92 and body[end] != 127:
                hashed = ((hashed ^ np.int64(body[end])) * 16777619) & 0xFFFFFFFF
                end += 1
            if end >= size or body[end] != 32:
                reason = SLOW
                break
            length = end - pos
            place = (hashed ^ (hashed >> 15)) & mask
            for _probe in range(MAX_PROBES):
                entry = table[place] - 1
                if entry < 0:
                    break
                found = keys[entry]
                if found["hash"] == hashed and found["length"] == length and found["default"] == default and found["slot"] >= 0:
                    offset = keys[entry]["offset"]
                    differs = np.uint8(0)
                    if offset + length <= text.size:
                        for i in range(length):
                            differs |= body[pos + i] ^ text[offset + i]
                        if differs == 0:
                            key = entry
                            break
                place = (place + 1) & mask
            if key < 0:
                state[KEY_END] = end
                state[HASH] = hashed
                reason = UNKNOWN
                break
            if previous >= 0:
                keys[previous]["next"] = key
        slot = keys[key]["slot"]

        # ---- the value
        p = end + 1
        if (
            slot >= slots.size
            or p + 7 > size
            or body[p] != 118
            or body[p + 1] != 97
            or body[p + 2] != 108
            or body[p + 3] != 117
            or body[p + 4] != 101
            or body[p + 5] != 61
        ):
            reason = SLOW
            break
        p += 6
        negative = body[p] == 45
        if negative:
            p += 1
        mantissa = np.int64(0)
        digits = 0
        significant = 0
        scale = 0
        while p < size and 48 <= body[p] <= 57:
            if significant == 18:
                significant = 19
                break
            mantissa = mantissa * 10 + (np.int64(body[p]) - 48)
            digits += 1
            if mantissa > 0:
                significant += 1
            p += 1
        whole = True
        if significant <= 18 and p < size and body[p] == 46:
            whole = False
            p += 1
            while p < size and 48 <= body[p] <= 57:
                if significant == 18:
                    significant = 19
                    break
                mantissa = mantissa * 10 + (np.int64(body[p]) - 48)
                digits += 1
                scale -= 1
                if mantissa > 0:
                    significant += 1
                p += 1
        if digits == 0 or significant > 18:
            reason = SLOW
            break
        if p < size and (body[p] == 101 or body[p] == 69):
            whole = False
            p += 1
            below = False
            if p < size and (body[p] == 43 or body[p] == 45):
                below = body[p] == 45
                p += 1
            exponent = np.int64(0)
            places = 0
            while p < size and 48 <= body[p] <= 57 and places < 4:
                exponent = exponent * 10 + (np.int64(body[p]) - 48)
                places += 1
                p += 1
            if places == 0 or places == 4:
                reason = SLOW
                break
            scale += int(-exponent if below else exponent)
        elif whole and p < size and (body[p] == 105 or (body[p] == 117 and not negative)):
            p += 1
        number = np.float64(mantissa)
        if mantissa != 0 and scale != 0:
            if scale < -44 or scale > 22:
                reason = SLOW
                break
            if scale > 0:
                number = number * _POWERS[scale]
            elif scale >= -22:
                number = number / _POWERS[-scale]
            else:
                number = number / _POWERS[22] / _POWERS[-scale - 22]
            # The float64 is exact up to 2^53 and 10^22. Else it is off by at most 3 units, which matters only beside a float32 boundary.
            if (mantissa > _EXACT or scale < -22) and np.float32(number * _ABOVE) != np.float32(number * _BELOW):
                reason = SLOW
                break
        if number > 3.0e38:
            reason = SLOW
            break
        if negative:
            number = -number

        # ---- the time
        time = now
        if p < size and body[p] == 32:
            p += 1
            start = p
            time = np.int64(0)
            while p < size and 48 <= body[p] <= 57 and p - start < 19:
                time = time * 10 + (np.int64(body[p]) - 48) if p - start < 18 else np.int64(-1)
                p += 1
            if p == start or time < 0:
                reason = SLOW
                break
            if time > 9223372036:
                if time <= 9223372036854:
                    time = time // 1000
                elif time <= 9223372036854775:
                    time = time // 1000000
                else:
                    time = time // 1000000000
        if p < size and body[p] == 13:
            p += 1
        if p < size and body[p] != 10:
            reason = SLOW
            break

        # ---- the place
        entry_slot = slots[slot]
        frequency = entry_slot["frequency"]
        last = entry_slot["last"]
        if time < oldest or time > now + max(_HOUR, 10 * frequency) or last < entry_slot["first"]:
            reason = SLOW
            break
        inside = time - entry_slot["phase"] - last * frequency
        bin_ = last
        if inside < 0 or inside >= 2 * frequency:
            bin_ = (time - entry_slot["phase"]) // frequency
            inside = time - entry_slot["phase"] - bin_ * frequency
        elif inside >= frequency:
            bin_ = last + 1
            inside -= frequency
        drift = entry_slot["drift"]
        tile = bin_ >> 6
        if bin_ < entry_slot["first"] or (tile > (last >> 6) and (drift >= 8 or drift <= -8)):
            reason = SLOW
            break
        group = groups[entry_slot["group"]]
        row = entry_slot["row"]
        if tile == group["tile0"] and row < group["rows0"]:
            index = group["base0"] + row * 64 + (bin_ & 63)
        elif tile == group["tile1"] and row < group["rows1"]:
            index = group["base1"] + row * 64 + (bin_ & 63)
        else:
            reason = SLOW
            break
        if index < 0 or index >= values.size:
            reason = SLOW
            break
        values[index] = np.float32(number)
        if bin_ > last:
            entry_slot["last"] = bin_
        aside = 4 * (inside - frequency // 2)
        if aside > frequency:
            entry_slot["drift"] = min(drift + 1, 8) if drift > 0 else 1
        elif aside < -frequency:
            entry_slot["drift"] = max(drift - 1, -8) if drift < 0 else -1
        else:
            entry_slot["drift"] = 0
        out_slots[out] = slot
        out_times[out] = time
        out_values[out] = np.float32(number)
        out += 1
        previous = key
        pos = p + 1
        line += 1
    state[POS] = min(pos, size)
    state[LINE] = line
    state[OUT] = out
    state[PREVIOUS] = previous
    return reason


Kernel = Callable[..., int]


class Loaded(NamedTuple):
    """kernel None: the slow path serves, and `note` says why."""

    kernel: Kernel | None
    note: str


def load() -> Loaded:
    """Compiles `scatter`, or takes it from the cache (0.5 s, else some seconds). In any thread; never raises."""
    try:
        import numba

        compiled: Kernel = numba.njit(nogil=True, cache=True)(scatter)
        _call_once(compiled)
    except Exception as error:  # numba raises whatever its parts raise; the store serves without it
        return Loaded(None, f"the ingest kernel is not available ({type(error).__name__}: {error}); the slower path serves")
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined,unused-ignore]
        return Loaded(compiled, "the ingest kernel is not compiled (NUMBA_DISABLE_JIT)")
    return Loaded(compiled, f"ingest kernel ready (numba {numba.__version__})")


def state(line: int = 1, default: int = 0, now: int = 0, oldest: int = 0, size: int = 0) -> Any:
    """A fresh `state`."""
    return np.array([0, line, 0, -1, default, now, oldest, 0, 0, size], np.int64)


def _call_once(kernel: Kernel) -> None:
    """With arrays of the types that `ccstore.ingest` gives, so that nothing is compiled later."""
    from .registry import GROUP, SLOT

    kernel(
        np.frombuffer(b"\n", np.uint8),
        state(),
        np.zeros(1, KEY),
        np.zeros(1, np.uint8),
        np.zeros(2, np.int32),
        np.zeros(1, SLOT),
        np.zeros(1, GROUP),
        np.zeros(64, np.float32),
        np.zeros(1, np.int32),
        np.zeros(1, np.int64),
        np.zeros(1, np.float32),
    )


def main() -> int:
    """Warms the cache; exit 1 where the kernel is not available."""
    loaded = load()
    sys.stdout.write(loaded.note + "\n")
    return 0 if loaded.kernel else 1


if __name__ == "__main__":
    raise SystemExit(main())
