# Sourced by the other scripts: makes .venv from the lock file, or leaves it alone when it is up to date.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export AMIANAI_ROOT="$root"

# Nothing we make is writable by others; a stricter umask of the caller stays.
umask "$(printf '%04o' $(($(umask) | 0022)))"

say() { printf '%s\n' "$*" >&2; }

# The first Python that is new enough; pyenv's shims exist without a Python behind them, so each is asked.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  say "Error: Python 3.11 or later was not found."
  say "  next:  install it from https://www.python.org/downloads or your package manager, or name it: PYTHON=/path/to/python3.12 $0"
  exit 1
}

# install LOCK: with uv where it is present, else with pip; both accept only what the lock's hashes name.
install() {
  if command -v uv >/dev/null; then
    uv pip install --quiet --python "$root/.venv/bin/python" --require-hashes -r "$1"
    uv pip install --quiet --python "$root/.venv/bin/python" --no-deps --no-build-isolation -e "$root"
  else
    "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r "$1"
    "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e "$root"
  fi
}

make_venv() {
  local python
  python=$(find_python)
  if command -v uv >/dev/null; then
    # Seeded with pip: the engine asks it for the installed packages when a person types `pulumi up`.
    uv venv --quiet --clear --seed --python "$python" "$root/.venv"
  elif ! "$python" -m venv --clear "$root/.venv"; then
    say "Error: $python cannot make a virtual environment."
    say "  next:  install its venv module (Debian and Ubuntu: apt install python3-venv) or uv (https://docs.astral.sh/uv)"
    exit 1
  fi
}

# What runs from .venv runs as us: one that somebody else could have changed is refused.
require_ours() {
  local venv=$root/.venv foreign
  [ -e "$venv" ] || return 0
  # uv opens the .lock in every environment to everybody; nothing reads it.
  foreign=$(find "$venv/" ! -type l ! -path "$venv/.lock" \( -perm -0020 -o -perm -0002 -o ! \( -user 0 -o -user "$(id -u)" \) \) 2>/dev/null) || true
  [ -z "$foreign" ] && return 0
  say "Error: somebody else could change what would be run from a folder of ours."
  say "  where: ${foreign%%$'\n'*}"
  say "  next:  \`rm -rf $venv\`: it is made anew; or \`chmod -R go-w $venv\` when it is yours and nobody else has used this machine"
  exit 3
}

# environment runtime|dev
environment() {
  local kind=$1 lock started=$SECONDS
  require_ours
  lock="$root/requirements.lock"
  [ "$kind" = dev ] && lock="$root/requirements-dev.lock"
  if cat "$lock" "$root/pyproject.toml" 2>/dev/null | cmp -s - "$root/.venv/installed-$kind"; then
    return
  fi
  say "Python packages ..."
  if ! "$root/.venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || ! has_installer; then
    make_venv
  fi
  install "$lock"
  chmod -R go-w "$root/.venv"  # installers keep the modes of what they unpack or link
  # Compile what every command loads, now and for good: pulumi-aws takes seconds each time where Python may not write bytecode.
  PYTHONDONTWRITEBYTECODE='' "$root/.venv/bin/python" -c 'import amianai_infra.stack, amianai_infra.engine.automation, boto3, rich.progress' || true
  # The tests' packages contain everything the product needs, in the same versions.
  cat "$root/requirements.lock" "$root/pyproject.toml" >"$root/.venv/installed-runtime"
  cat "$lock" "$root/pyproject.toml" >"$root/.venv/installed-$kind"
  say "Python packages: installed ($((SECONDS - started)) s)"
}

# A .venv that uv made has no pip of its own.
has_installer() {
  command -v uv >/dev/null || "$root/.venv/bin/python" -m pip --version >/dev/null 2>&1
}
