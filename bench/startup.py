"""How long a user waits before anything happens: help, import, and the first kernel of a new process.

Whole processes, each timed several times after one warm-up; the median is printed, beside bare Python's own start
in the same run, because seconds alone say more about the machine than about Lockstep.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 7
FIRST_KERNEL = (
    "import lockstep as ls; c = ls.sample_candles(); ls.backtest(c, 'liquidity_sweep', {}, costs=ls.Costs(fee_rate=0))"
)
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import lockstep": ["-c", "import lockstep"],
    "lockstep --help": ["-m", "lockstep", "--help"],
    "lockstep train --help": ["-m", "lockstep", "train", "--help"],
    "import numba": ["-c", "import numba"],
    "first backtest, kernels cached": ["-c", FIRST_KERNEL],
}
LIMITS = {"import lockstep": 0.6, "lockstep --help": 0.4}


def seconds(arguments: list[str]) -> float:
    """Median wall seconds of a whole process."""
    taken = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def main() -> None:
    print(f"start-up, seconds per process (median of {RUNS} after one warm-up)")
    bare = seconds(COMMANDS["python -c pass"])
    for name, arguments in COMMANDS.items():
        taken = seconds(arguments)
        limit = f"  limit {LIMITS[name]} s" if name in LIMITS else ""
        print(f"  {name:<34}{taken:8.3f}  {taken / bare:6.1f} x bare Python{limit}")


if __name__ == "__main__":
    main()
