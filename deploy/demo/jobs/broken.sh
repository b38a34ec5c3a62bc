#!/bin/sh
# Works a little, then fails: how a failed job looks.
python3 -c '
import time
until = time.time() + 45
while time.time() < until: sum(range(10000))
'
echo "cannot open input.dat" >&2
exit 3
