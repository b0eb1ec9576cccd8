"""``python -m photic`` is ``photic``."""

import sys

from photic.cli.main import run

if __name__ == "__main__":  # loader processes import this file again
    sys.exit(run())
