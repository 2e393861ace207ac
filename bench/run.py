"""`make bench`: every benchmark, one after the other, on one core.

Each prints ratios against a peer or a limit that it measures in the same run, on the same data, pinned to the same
core, in a process of its own: the peak memory of one must not be that of the one before. `python -m bench.run engine
startup` runs some of them.
"""

from __future__ import annotations

import os
import subprocess
import sys

NAMES = (
    "startup",
    "engine",
    "own_strategy",
    "liquidity_sweep",
    "search",
    "gradients",
    "replay_buffers",
    "agents",
    "packages",
    "episodes",
)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    # A process that wanders between cores measures its caches being filled again.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name in names or NAMES:
        print(f"\n== {name} ==", flush=True)
        done = subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False)
        if done.returncode != 0:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
