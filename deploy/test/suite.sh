#!/usr/bin/env bash
# Runs every test, with further flags of go test if there are any, and writes go test's events
# to build/test.json. The race detector is on but where there is nothing for it to find:
# packages without goroutines of their own that compile many modules, for which the compiler
# of modules takes ten times as long with it. The same holds for single packages that others
# are linked with, which compute and share nothing.
set -euo pipefail
gotestsum=(go run gotest.tools/gotestsum@v1.13.0 --format pkgname-and-test-fails)
mkdir -p build

alone='/gateway/plugin/(wasm/meter|trial|hostile|anatomy)$|/sdk/languages$|/examples/plugins(/|$)|/plugins/(oauth|saml)(/|$)'
mapfile -t packages < <(go list ./...)
mapfile -t plain < <(printf '%s\n' "${packages[@]}" | grep -E "$alone")
mapfile -t raced < <(printf '%s\n' "${packages[@]}" | grep -vE "$alone")

# Only packages that have no sync.Map and no pointer of sync/atomic in their types: each package
# compiles the generic methods of these for itself, the linker takes one for all, and without
# the detector's calls in it races are seen that are none. checkptr comes with the detector, and
# looks at each access of a program that was translated from C.
wazero=github.com/tetratelabs/wazero/internal
uninstrumented=()
for package in "$wazero"/{engine/wazevo/{ssa,frontend,backend/...},wasm/binary,leb128} modernc.org/sqlite/lib golang.org/x/crypto/argon2; do
	uninstrumented+=("-gcflags=$package=-race=false -d=checkptr=0")
done

# Drills of minutes; deploy/verify/recovery.sh runs them.
drills='^(TestEverybodyIsBackAfterARestore|TestBackupOfSQLiteWhileItIsInUse)$'

status=0
"${gotestsum[@]}" --jsonfile build/race.json -- -race -skip "$drills" "${uninstrumented[@]}" -timeout 30m "$@" "${raced[@]}" || status=$?
"${gotestsum[@]}" --jsonfile build/plain.json -- -timeout 30m "$@" "${plain[@]}" || status=$?
cat build/race.json build/plain.json >build/test.json
exit "$status"
