#!/usr/bin/env bash
# Build the site and publish it:
#   ./scripts/deploy.sh --sandbox
#   DOMAIN_NAME=example.com ./scripts/deploy.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment runtime
exec "$root/.venv/bin/amianai" deploy "$@"
