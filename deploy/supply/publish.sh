#!/usr/bin/env bash
# Makes the release of this version on GitHub, with all of build/release/. DRY=1 prints the command.
#   GH_TOKEN=... deploy/supply/publish.sh
set -euo pipefail
# shellcheck source=deploy/supply/release.env
. "$(dirname "$0")/release.env"

how=(--verify-tag --generate-notes --title "$VERSION")
[[ $VERSION != *-* ]] || how+=(--prerelease)
shown gh release create "$VERSION" --repo "$REPOSITORY" "${how[@]}" build/release/*
