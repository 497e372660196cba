#!/usr/bin/env bash
# Build the whole stack, or go on where the last run stopped:
#   ./scripts/setup.sh --sandbox
#   DOMAIN_NAME=example.com GITHUB_USERNAME=you ./scripts/setup.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment runtime
exec "$root/.venv/bin/amianai" setup "$@"
