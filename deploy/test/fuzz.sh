#!/usr/bin/env bash
# Runs every fuzz target of the module for the time given, one after another.
set -euo pipefail
for_time=${1:-30s}
while IFS=: read -r file name; do
	echo "== ./$(dirname "$file") $name"
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$for_time" "./$(dirname "$file")"
done < <(git grep -noE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed -E 's/:[0-9]+:func /:/')
