#!/usr/bin/env bash
# Verifies a release: that its checksums were signed by the workflow of its version (or, with
# COSIGN_PUBLIC_KEY, by that key), and that each file is what they say. DRY=1 prints the commands.
#   deploy/supply/verify-release.sh [DIRECTORY]
set -euo pipefail
from=$(realpath -m "${1:-build/release}")
# shellcheck source=deploy/supply/release.env
. "$(dirname "$0")/release.env"

by=(--certificate-identity "$IDENTITY" --certificate-oidc-issuer "$ISSUER")
[ -z "${COSIGN_PUBLIC_KEY:-}" ] || by=(--key "$COSIGN_PUBLIC_KEY" --insecure-ignore-tlog=true)
shown "$TOOL" cosign verify-blob "${by[@]}" --bundle "$from/SHA256SUMS.sigstore.json" "$from/SHA256SUMS"
shown env -C "$from" sha256sum --check --strict --quiet SHA256SUMS
