#!/bin/sh
# Make .venv with this project and the named extras, or bring it up to date; quiet when it is.
# usage: tools/setup_venv.sh EXTRA[,EXTRA...]
# PYTHON names the interpreter to start from; default: the first of python3, python3.13 ... that
# is new enough and starts.
set -eu
cd "$(dirname "$0")/.."
extras=${1:-test}
venv=.venv
log=$venv/setup.log
stamp=$venv/.ready-$(printf %s "$extras" | tr , -)

if [ -f "$stamp" ] && [ "$stamp" -nt pyproject.toml ] && "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi

works() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])' >/dev/null 2>&1; }

if ! { [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
    base=
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python}; do
        if works "$name"; then base=$name; break; fi
    done
    if [ -z "$base" ]; then
        echo "setup: Python 3.10 or newer is needed (set PYTHON to name it)" >&2
        exit 1
    fi
    echo "setup: making $venv with $("$base" --version)"
    rm -rf "$venv"
    # Debian's python3 may come without ensurepip; virtualenv and uv serve as well.
    "$base" -m venv "$venv" >/dev/null 2>&1 ||
        { rm -rf "$venv"; "$base" -m virtualenv -q "$venv" >/dev/null 2>&1; } ||
        { rm -rf "$venv"; uv venv -q --seed --python "$base" "$venv" >/dev/null 2>&1; } || {
        rm -rf "$venv"
        echo "setup: $base cannot make a virtual environment; install python3-venv" >&2
        exit 1
    }
fi

echo "setup: installing nntc[$extras] and what it needs into $venv"
if ! "$venv/bin/python" -m pip install --disable-pip-version-check -q -e ".[$extras]" >"$log" 2>&1
then
    cat "$log" >&2
    echo "setup: installation failed" >&2
    exit 1
fi
touch "$stamp"
