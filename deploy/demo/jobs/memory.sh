#!/bin/sh
# Takes memory in steps, works on it, and gives it back.
python3 - <<'PY'
import time
held = []
for step in range(8):
    held.append(bytearray(b"x") * (96 << 20))
    until = time.time() + 7
    while time.time() < until:
        for block in held:
            block[:: 4096] = bytes(len(block[:: 4096]))
        time.sleep(0.2)
held.clear()
time.sleep(10)
PY
