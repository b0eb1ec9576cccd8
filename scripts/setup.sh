#!/bin/sh
# Make .venv in the checkout: a Python, uv, and everything Photic needs at the versions of constraints.txt.
# Does nothing when it is up to date.
set -eu
cd "$(dirname "$0")/.."

find_python() {
    for candidate in ${PYTHON:-} python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Photic needs Python 3.11 or 3.12 with venv (on Debian: apt install python3 python3-venv). Set PYTHON=/path/to/python if it is elsewhere." >&2
    exit 1
}

python=$(find_python)
stamp=$({ cat pyproject.toml constraints.txt scripts/setup.sh; "$python" --version; pwd; } | cksum)
if [ -x .venv/bin/photic ] && [ "$(cat .venv/.photic-stamp 2>/dev/null || true)" = "$stamp" ]; then
    exit 0
fi

if [ -d .venv ] && ! .venv/bin/python -c "import sys; sys.exit(sys.prefix != '$(pwd)/.venv')" 2>/dev/null; then
    echo "Replacing a .venv that no longer works here"
    rm -rf .venv
fi
echo "Setting up .venv with $("$python" --version) (about 6 GB with torch; some minutes the first time)"
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
VIRTUAL_ENV="$(pwd)/.venv" .venv/bin/uv pip install --constraint constraints.txt --editable '.[dev,docs,export,serve]'
printf '%s' "$stamp" > .venv/.photic-stamp
echo "Ready: .venv/bin/photic --help"
