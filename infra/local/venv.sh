#!/bin/sh
# Make .venv from uv.lock on a machine that has only Python 3.11 or later. Run from the checkout's root.
set -eu

fail() { echo "latchkey: $1" >&2; exit 1; }

fetch_uv() {
    # --target keeps clear of the system's own packages, which PEP 668 machines insist on.
    pip=python3
    python3 -m pip --version >/dev/null 2>&1 || bring_pip
    "$pip" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --upgrade --target .latchkey/uv uv >&2 || fail "pip could not fetch uv"
}

bring_pip() {
    # Debian keeps pip apart from its Python, and has a copy of it for virtual environments.
    pip=.latchkey/pip/bin/python
    python3 -m venv --clear .latchkey/pip >/dev/null 2>&1 || { pip=python3 && install_pip; }
}

install_pip() {
    mkdir -p .latchkey
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        apt_pip
    elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then
        apt_pip sudo -n
    else
        fail "neither uv nor pip is installed: install one of them (Debian: \`sudo apt-get install python3-pip\`), then run this again"
    fi
}

apt_pip() {
    { "$@" apt-get -q update && "$@" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y install --no-install-recommends python3-pip; } >.latchkey/pip.log 2>&1 ||
        { tail -n 5 .latchkey/pip.log >&2; fail "apt could not install python3-pip"; }
}

command -v python3 >/dev/null || fail "python3 is missing: install Python 3.11 or later"
is_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# A distribution builds its Python with optimizations, pyenv does not by itself: a run takes a tenth more CPU there.
python=/usr/bin/python3
is_enough "$python" || python=$(command -v python3)
is_enough "$python" || fail "Python 3.11 or later is needed"

uv=$(command -v uv || true)
if [ -z "$uv" ] || ! "$uv" --version >/dev/null 2>&1; then
    uv=.latchkey/uv/bin/uv
    [ -x "$uv" ] || { echo "fetching uv" >&2; fetch_uv; }
fi

# uv brings its own list of authorities; the machine's list knows its own (a company's proxy) as well.
authorities=/etc/ssl/certs/ca-certificates.crt
[ -z "${SSL_CERT_FILE:-}" ] && [ -s "$authorities" ] && export SSL_CERT_FILE="$authorities"

if [ ! -x .venv/bin/python ]; then # one that is there keeps its Python
    echo "making .venv (once; it fetches some 150 MB)" >&2
    [ -n "${UV_PYTHON:-}" ] || set -- --python "$python"
fi
UV_PROJECT_ENVIRONMENT=.venv "$uv" sync --frozen "$@"
