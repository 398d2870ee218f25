#!/usr/bin/env bash
# Prints the licences of all that is compiled into the programs and plugins, which their authors
# ask to be given on with them.
#   deploy/supply/notices.sh >THIRD_PARTY_LICENSES
set -euo pipefail
# shellcheck source=deploy/supply/release.env
. "$(dirname "$0")/release.env"

linked() { go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{with .Replace}}{{.Version}}{{else}}{{.Version}}{{end}} {{.Dir}}{{end}}{{end}}' "$@"; }

echo 'Shield contains the Go standard library and the modules below, under these licences.'
modules=$({
	GOOS=linux GOARCH=amd64 linked -tags timetzdata ./cmd/shield
	GOOS=linux GOARCH=arm64 linked -tags timetzdata ./cmd/shield
	GOOS=wasip1 GOARCH=wasm linked ./plugins/{email,oauth,saml}/cmd
} | LC_ALL=C sort -u)
modules=$(printf 'Go %s %s\n%s\n' "$(go env GOVERSION)" "$(go env GOROOT)" "$modules")
while read -r path version dir; do
	found=$(find -L "$dir" -maxdepth 1 -type f -iregex '.*/\(licen[cs]e\|copying\|notice\|patents\)[^/]*' ! -name '*.go' | LC_ALL=C sort)
	[ -n "$found" ] || { echo "$path $version has no licence in $dir" >&2; exit 1; }
	while read -r file; do
		printf '\n======== %s %s: %s\n\n' "$path" "$version" "$(basename "$file")"
		cat "$file"
	done <<<"$found"
done <<<"$modules"
