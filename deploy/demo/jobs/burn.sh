#!/bin/sh
# Full load on every core of the job, with a pause in the middle that shows in the curves.
python3 - <<'PY'
import multiprocessing, os, time

def burn(until):
    x = 1.0001
    while time.time() < until:
        for _ in range(20000):
            x = x * x % 1e9 + 1.0001

def phase(seconds):
    until = time.time() + seconds
    workers = [multiprocessing.Process(target=burn, args=(until,)) for _ in os.sched_getaffinity(0)]
    for w in workers: w.start()
    for w in workers: w.join()

phase(35)
time.sleep(12)
phase(35)
PY
