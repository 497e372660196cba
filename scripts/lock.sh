#!/usr/bin/env bash
# Makes both lock files anew from pyproject.toml (needs uv):
#   ./scripts/lock.sh              keeps the versions that still fit
#   ./scripts/lock.sh --upgrade    takes the newest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compile() {
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
    pyproject.toml --all-extras --group build "$@"
}
compile "$@" -o requirements.lock
compile "$@" --group dev -c requirements.lock -o requirements-dev.lock
