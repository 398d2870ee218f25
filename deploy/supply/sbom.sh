#!/usr/bin/env bash
# Writes what the programs of a directory are made of, as SPDX and as CycloneDX, and what the
# source names. Syft puts the time and random numbers into them; those of the commit take their
# place, so that two of one release are equal.
#   deploy/supply/sbom.sh [DIRECTORY]
set -euo pipefail
into=$(realpath -m "${1:-build/release}")
# shellcheck source=deploy/supply/release.env
. "$(dirname "$0")/release.env"
command -v jq >/dev/null || { echo 'the SBOM needs jq: apt-get install jq' >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/programs" "$work/source"
cp "$into"/shield-linux-* "$work/programs/"
cp go.mod go.sum "$work/source/"
go mod download # the licences are read from the modules

# scan DIRECTORY NAME CATALOGER FORMAT=FILE...
scan() {
	local directory=$1 name=$2 cataloger=$3 outputs=()
	shift 3
	outputs=("${@/#/--output=}")
	SYFT_CHECK_FOR_APP_UPDATE=false SYFT_GOLANG_USE_PACKAGES_LIB=false \
	SYFT_GOLANG_SEARCH_LOCAL_MOD_CACHE_LICENSES=true SYFT_GOLANG_LOCAL_MOD_CACHE_DIR=$modules \
		"$syft" scan "dir:$directory" --quiet --source-name "$name" --source-version "$VERSION" --override-default-catalogers "$cataloger" "${outputs[@]}"
}
syft=$("$TOOL" -path syft)
modules=$(go env GOMODCACHE)
scan "$work/programs" shield go-module-binary-cataloger "spdx-json=$work/shield.spdx.json" "cyclonedx-json=$work/shield.cdx.json"
scan "$work/source" shield-source go-module-file-cataloger "spdx-json=$work/source.spdx.json"

created=$(date -u -d "$CREATED" +%Y-%m-%dT%H:%M:%SZ)
for name in shield source; do
	jq --arg created "$created" --arg namespace "https://github.com/$REPOSITORY/sbom/$name-$VERSION-$REVISION" \
		'.creationInfo.created = $created | .documentNamespace = $namespace' "$work/$name.spdx.json" >"$into/$name.spdx.json"
done
id=$(printf '%s %s' "$VERSION" "$REVISION" | sha256sum)
jq --arg created "$created" --arg id "urn:uuid:${id:0:8}-${id:8:4}-8${id:12:3}-a${id:15:3}-${id:18:12}" \
	'.metadata.timestamp = $created | .serialNumber = $id' "$work/shield.cdx.json" >"$into/shield.cdx.json"
