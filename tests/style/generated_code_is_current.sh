#!/usr/bin/env bash
# Fails if gen/ is not what proto/ generates.
set -euo pipefail
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
deploy/generate_code.sh "$fresh"
if ! diff -rq --exclude=__pycache__ "$fresh/bithedge" gen/bithedge; then
    echo "gen/ is not current: run make proto" >&2
    exit 1
fi
