#!/usr/bin/env bash
# Fails if something in build/image.tar has a known vulnerability that is high or critical, or if a
# secret is in it. DRY=1 prints the command.
#   deploy/supply/image-scan.sh
set -euo pipefail
# shellcheck source=deploy/supply/release.env
. "$(dirname "$0")/release.env"

shown "$TOOL" trivy image --input build/image.tar --scanners vuln,secret --severity HIGH,CRITICAL --exit-code 1 --no-progress
