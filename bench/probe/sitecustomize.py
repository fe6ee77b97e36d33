"""Runs inside the measured webhook, because its folder is first on PYTHONPATH: notes every pause of the garbage collector.

A line is: seconds since the epoch, seconds of the pause, generation. Written to the file that KAGENTI_BENCH_PAUSES names.
"""

import gc
import os
import time

_started = 0.0


def _note(phase: str, info: dict[str, int]) -> None:
    global _started  # noqa: PLW0603  # a callback of the collector has nowhere else to keep it
    if phase == "start":
        _started = time.perf_counter()
        return
    pause = time.perf_counter() - _started
    with open(os.environ["KAGENTI_BENCH_PAUSES"], "a") as file:
        file.write(f"{time.time()} {pause} {info['generation']}\n")


if os.environ.get("KAGENTI_BENCH_PAUSES"):
    gc.callbacks.append(_note)
