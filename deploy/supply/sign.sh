#!/usr/bin/env bash
# Signs the checksums of a release, and with them its files. The signature is of the identity that
# GitHub gives to the workflow of a release, for which there is no key that could be stolen; with
# COSIGN_KEY it is of that key, and nothing is asked of anybody. DRY=1 prints the command.
#   deploy/supply/sign.sh [DIRECTORY]
set -euo pipefail
from=$(realpath -m "${1:-build/release}")
# shellcheck source=deploy/supply/release.env
. "$(dirname "$0")/release.env"

how=()
[ -z "${COSIGN_KEY:-}" ] || how=(--key "$COSIGN_KEY" --use-signing-config=false --tlog-upload=false)
shown "$TOOL" cosign sign-blob --yes "${how[@]}" --bundle "$from/SHA256SUMS.sigstore.json" "$from/SHA256SUMS"
