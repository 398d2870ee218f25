#!/usr/bin/env bash
# Runs every test, with further flags of go test if there are any, and writes go test's events
# to build/test.json. The race detector is on but where there is nothing for it to find:
# packages without goroutines of their own that compile many modules, for which the compiler
# of modules takes ten times as long with it. The same holds for single packages that others
# are linked with: what they share goes through locks, which the detector still sees.
set -euo pipefail
gotestsum=(go run gotest.tools/gotestsum@v1.13.0 --format pkgname-and-test-fails)
mkdir -p build

alone='/gateway/plugin/(wasm/meter|trial|hostile|anatomy)$|/sdk/languages$|/examples/plugins(/|$)|/plugins/(oauth|saml)(/|$)'
mapfile -t packages < <(go list ./...)
mapfile -t plain < <(printf '%s\n' "${packages[@]}" | grep -E "$alone")
mapfile -t raced < <(printf '%s\n' "${packages[@]}" | grep -vE "$alone")

uninstrumented=()
for package in github.com/tetratelabs/wazero/... modernc.org/... golang.org/x/crypto/argon2 \
	github.com/materi/shield/gateway/plugin/wasm/meter; do
	# checkptr, which comes with the detector, looks at each access of a program that was
	# translated from C.
	uninstrumented+=("-gcflags=$package=-race=false -d=checkptr=0")
done

status=0
"${gotestsum[@]}" --jsonfile build/race.json -- -race "${uninstrumented[@]}" -timeout 15m "$@" "${raced[@]}" || status=$?
"${gotestsum[@]}" --jsonfile build/plain.json -- -timeout 15m "$@" "${plain[@]}" || status=$?
cat build/race.json build/plain.json >build/test.json
exit "$status"
