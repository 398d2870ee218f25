#!/usr/bin/env bash
# Runs every test, with further flags of go test if there are any, and writes go test's events
# to build/test.json. The race detector is on but where there is nothing for it to find:
# packages without goroutines of their own that compile many modules, for which the compiler
# of modules takes ten times as long with it.
set -euo pipefail
gotestsum=(go run gotest.tools/gotestsum@v1.13.0 --format pkgname-and-test-fails)
mkdir -p build

alone='/gateway/plugin/(wasm/meter|trial|hostile|anatomy)$|/sdk/languages$|/examples/plugins(/|$)'
mapfile -t packages < <(go list ./...)
mapfile -t plain < <(printf '%s\n' "${packages[@]}" | grep -E "$alone")
mapfile -t raced < <(printf '%s\n' "${packages[@]}" | grep -vE "$alone")

status=0
"${gotestsum[@]}" --jsonfile build/race.json -- -race -timeout 15m "$@" "${raced[@]}" || status=$?
"${gotestsum[@]}" --jsonfile build/plain.json -- -timeout 15m "$@" "${plain[@]}" || status=$?
cat build/race.json build/plain.json >build/test.json
exit "$status"
