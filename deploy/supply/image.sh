#!/usr/bin/env bash
# Builds the image of this commit and writes it to build/image.tar. DRY=1 prints the commands.
#   deploy/supply/image.sh
set -euo pipefail
# shellcheck source=deploy/supply/release.env
. "$(dirname "$0")/release.env"

mkdir -p build
shown docker build --tag "shield:$VERSION" \
	--build-arg BUILDER="$(cat deploy/supply/builder)" \
	--build-arg VERSION="$VERSION" --build-arg REVISION="$REVISION" --build-arg CREATED="$CREATED" .
shown docker save --output build/image.tar "shield:$VERSION"
