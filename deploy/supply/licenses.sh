#!/usr/bin/env bash
# Fails if a module that go.mod names has a licence that deploy/supply/licenses.txt does not allow,
# or none that syft knows.
#   deploy/supply/licenses.sh [DIRECTORY]
set -euo pipefail
from=$(realpath -m "${1:-build/release}")
# shellcheck source=deploy/supply/release.env
. "$(dirname "$0")/release.env"

status=0 count=0
while IFS=$'\t' read -r module licences; do
	count=$((count + 1))
	# What was read by a person comes before what was recognised.
	licences=$(awk -v module="$module" '$1 == module { print $2; found = 1 } END { exit !found }' deploy/supply/licenses.txt || echo "$licences")
	for licence in $(tr -d '()' <<<"$licences" | sed 's/ AND / /g'); do
		grep -qxF "$licence" deploy/supply/licenses.txt || { echo "$module: $licence is not in deploy/supply/licenses.txt" >&2; status=1; }
	done
done < <(jq -r '.packages[] | select(any(.externalRefs[]?; .referenceLocator | startswith("pkg:golang/"))) | [.name, .licenseDeclared] | @tsv' "$from/source.spdx.json")
[ "$count" -gt 0 ] || { echo "$from/source.spdx.json names no module" >&2; exit 1; }
exit "$status"
