#!/usr/bin/env bash
# Everything that must hold before a change is good: formatting, lint, types, import directions, tests.
#   ./scripts/test.sh                    all of it
#   ./scripts/test.sh tests/unit -k cidr the same, with other arguments for pytest
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment dev
cd "$root"
export PATH="$root/.venv/bin:$PATH"
unset AMIANAI_ROOT
ruff check .
ruff format --check .
mypy
lint-imports
exec pytest "$@"
