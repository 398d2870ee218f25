#!/usr/bin/env bash
# Makes what a release consists of: the programs, the plugins, what they are made of, and a
# checksum of each file. The same commit makes the same bytes, wherever and whenever.
#   deploy/supply/release-files.sh [DIRECTORY]
set -euo pipefail
into=$(realpath -m "${1:-build/release}")
# shellcheck source=deploy/supply/release.env
. "$(dirname "$0")/release.env"

# The go command fetches this version if it is another, and checks it as it does a module.
GOTOOLCHAIN=go$(cat .go-version)
export GOTOOLCHAIN CGO_ENABLED=0 GOWORK=off GOFLAGS='-trimpath -buildvcs=false -mod=readonly'

rm -rf "$into"
mkdir -p "$into"
# As in the Dockerfile, so that the program of the image is the one of the release.
for arch in amd64 arm64; do
	echo "building shield for linux/$arch" >&2
	GOOS=linux GOARCH=$arch go build -tags timetzdata -ldflags "-s -w -buildid= -X main.version=$VERSION" -o "$into/shield-linux-$arch" ./cmd/shield
done
for plugin in email oauth saml; do
	echo "building $plugin.wasm" >&2
	GOOS=wasip1 GOARCH=wasm go build -ldflags '-s -w -buildid=' -buildmode=c-shared -o "$into/$plugin.wasm" "./plugins/$plugin/cmd"
done
chmod 755 "$into"/shield-linux-*
chmod 644 "$into"/*.wasm
cp LICENSE NOTICE "$into/"
deploy/supply/notices.sh >"$into/THIRD_PARTY_LICENSES"
deploy/supply/sbom.sh "$into"
(cd "$into" && LC_ALL=C sha256sum -- * >SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS)
find "$into" -exec touch -h -d "$CREATED" {} +
cat "$into/SHA256SUMS" >&2
