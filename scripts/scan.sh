#!/usr/bin/env bash
# Security scanners over what the program declares, compared with docs/security-findings.md; on demand, about five minutes:
#   ./scripts/scan.sh              checkov, parliament and cloudsplaining, over recorded resources and policies
#   ./scripts/scan.sh --prowler    Prowler, against the sandbox that runs (`amianai --sandbox setup` first)
# Each tool lives in an environment of its own, outside the project (AMIANAI_SCAN, else below the cache).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CHECKOV=3.3.30 PARLIAMENT=1.6.4 CLOUDSPLAINING=0.9.1 PROWLER=5.46.0
tools="${AMIANAI_SCAN:-${XDG_CACHE_HOME:-$HOME/.cache}/amianai-infra/scan}"

# Parliament needs pkg_resources, which setuptools has no longer from 81 on.
tool() {
  local place="$tools/$1" wanted="$1==$2"
  [ "$(cat "$place/version" 2>/dev/null)" = "$wanted" ] && return
  echo "installing $wanted" >&2
  python3 -m venv --clear "$place"
  "$place/bin/python" -m pip install --quiet --disable-pip-version-check "$wanted" "setuptools<81"
  echo "$wanted" >"$place/version"
}

mkdir -p "$tools"
if [ "${1:-}" = --prowler ]; then
  tool prowler "$PROWLER"
  eval "$(.venv/bin/amianai sandbox env)"
  cd "$tools"
  exec prowler/bin/prowler aws --region us-east-1 --output-directory "$tools/prowler-report" --output-formats csv --no-banner --ignore-exit-code-3 \
    --services acm awslambda cloudfront cloudwatch cognito ec2 iam kms rds route53 s3 secretsmanager sns sqs ssm vpc
fi
tool checkov "$CHECKOV"
tool parliament "$PARLIAMENT"
tool cloudsplaining "$CLOUDSPLAINING"
report="$(mktemp -d)"
trap 'rm -rf "$report"' EXIT
PYTHONPATH=. .venv/bin/python benchmarks/scan.py "$tools" "$report"
