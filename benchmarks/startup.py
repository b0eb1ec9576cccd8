"""Time of the commands that must answer at once, against a bare interpreter.

Run: ``python benchmarks/startup.py [ROUNDS]``. Rounds are interleaved; the median counts. Exits with 1
if a command takes 0.25 s or more.
"""

import statistics
import subprocess
import sys
import time

LIMIT_SECONDS = 0.25
COMMANDS = {
    "bare interpreter": ["-c", "pass"],
    "import photic": ["-c", "import photic"],
    "photic --help": ["-m", "photic", "--help"],
    "photic --version": ["-m", "photic", "--version"],
    "photic list models": ["-m", "photic", "list", "models"],
    "photic list models convnext_tiny_cbam --schema": ["-m", "photic", "list", "models", "convnext_tiny_cbam", "--schema"],
    "photic list recipes": ["-m", "photic", "list", "recipes"],
    "photic train --help": ["-m", "photic", "train", "--help"],
}


def seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main(rounds: int) -> int:
    for arguments in COMMANDS.values():
        seconds(arguments)  # warm the file cache and byte code
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    width = max(map(len, COMMANDS))
    print(f"{'':<{width}}  median s   worst s   ({rounds} rounds)")
    for name, measured in times.items():
        print(f"{name:<{width}}  {statistics.median(measured):8.3f}  {max(measured):8.3f}")
    slow = [name for name, measured in times.items() if statistics.median(measured) >= LIMIT_SECONDS]
    if slow:
        print(f"slower than {LIMIT_SECONDS} s: {', '.join(slow)}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 11))
