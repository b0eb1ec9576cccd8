"""Time and memory of grouping a million scan positions.

Run: ``python benchmarks/ptycho_grouping.py [--rounds N]``. Exits with 1 if the fastest round takes more than 3 s, or a process
more than 1 GB.

1,000,000 random positions, gridsize 2, K = 8, every position a seed. Every round is a process of its own; memory is the most that the
process ever held, the interpreter, NumPy, SciPy and the positions themselves included. CPU seconds are printed as well: on a busy
machine they tell what the wall clock cannot.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

NUM_POSITIONS = 1_000_000
LIMIT_S = 3.0
LIMIT_BYTES = 1e9


def measure() -> dict[str, float]:
    """Group once in this process."""
    import numpy as np

    from photic.apps.ptycho.grouping import group_indices

    positions = np.random.default_rng(0).random((NUM_POSITIONS, 2)) * 10_000
    wall, cpu = time.perf_counter(), time.process_time()
    groups = group_indices(positions, gridsize=2, neighbor_count=8, seed=0)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert groups.shape == (NUM_POSITIONS, 4)
    assert (groups[:, 0] == np.arange(NUM_POSITIONS)).all()
    assert (np.diff(np.sort(groups, axis=1), axis=1) > 0).all(), "a pattern is twice in a group"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"wall_s": wall, "cpu_s": cpu, "peak_bytes": peak}


def main() -> int:
    """Measure and compare with the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", action="store_true", help="measure once in this process and print JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure()))
        return 0
    found = []
    for number in range(options.rounds):
        output = subprocess.run([sys.executable, __file__, "--one"], check=True, capture_output=True, text=True).stdout
        found.append(json.loads(output))
        print(f"round {number + 1}: {found[-1]['wall_s']:.2f} s, {found[-1]['cpu_s']:.2f} CPU-s, {found[-1]['peak_bytes'] / 1e6:.0f} MB")
    wall, peak = min(one["wall_s"] for one in found), max(one["peak_bytes"] for one in found)
    is_fine = wall <= LIMIT_S and peak <= LIMIT_BYTES
    print(
        f"{NUM_POSITIONS:,} groups of 4: {wall:.2f} s (at most {LIMIT_S}), {peak / 1e6:.0f} MB (at most {LIMIT_BYTES / 1e6:.0f}): ", end=""
    )
    print("met" if is_fine else "MISSED")
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
