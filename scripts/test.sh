#!/usr/bin/env bash
# Everything that must hold before a change is good: formatting, lint, types, import directions, tests.
#   ./scripts/test.sh                    all of it
#   ./scripts/test.sh tests/unit -k cidr the same, with other arguments for pytest
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment dev
cd "$root"
export PATH="$root/.venv/bin:$PATH"
# What is loaded hundreds of times is compiled once, also where the caller's Python writes no bytecode.
unset AMIANAI_ROOT PYTHONDONTWRITEBYTECODE
ruff check .
ruff format --check .
lint-imports
# mypy keeps one core busy: it runs while the tests begin, and says what it found after them.
types=$(mktemp)
mypy >"$types" 2>&1 &
mypy=$!
trap 'kill "$mypy" 2>/dev/null || true; rm -f "$types"' EXIT
tests=0
pytest "$@" || tests=$?
typed=0
wait "$mypy" || typed=$?
cat "$types"
[ "$tests" = 0 ] || exit "$tests"
exit "$typed"
