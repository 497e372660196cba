#!/usr/bin/env bash
# Remove the stack, after showing what goes and what stays:
#   ./scripts/destroy.sh --sandbox
#   DOMAIN_NAME=example.com ./scripts/destroy.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment runtime
exec "$root/.venv/bin/amianai" destroy "$@"
