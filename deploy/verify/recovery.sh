#!/usr/bin/env bash
# Holds backup, restore, the copy of a store, its migrations and the rehearsals of failures to
# what docs/backup.md and docs/migrations.md say of them.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
mkdir -p build
status=0
# check ARTEFACT WHAT COMMAND...: one line of the table.
check() {
	local artefact=$1 what=$2 log
	shift 2
	log=build/verify-recovery.log
	if "$@" >"$log" 2>&1; then
		printf '%s\t%s\tok\n' "$artefact" "$what"
	else
		printf '%s\t%s\tFAIL\n' "$artefact" "$what"
		tail -n 20 "$log" >&2
		status=1
	fi
}
# tested PACKAGE TESTS [FLAG...]
tested() { deploy/test/servers.sh go test -count=1 -timeout=30m "$1" -run "$2" "${@:3}"; }

command -v shellcheck >/dev/null || { [ "$(id -u)" = 0 ] && apt-get install -y -qq --no-install-recommends shellcheck >/dev/null 2>&1; }
check 'deploy/backup, deploy/rehearse' 'shellcheck finds nothing' shellcheck --external-sources --source-path=SCRIPTDIR --severity=warning deploy/backup/backup.sh deploy/backup/restore.sh deploy/rehearse/failures.sh deploy/verify/recovery.sh
check deploy/backup/backup.sh '10,000 users: backed up, destroyed, restored; every row compared, all refresh, 1,000 log in' tested ./gateway/gatewaytest '^TestEverybodyIsBackAfterARestore$' -population=10000 -logins=1000
check deploy/backup/restore.sh 'no plain data, loud failures, nothing written over anything' tested ./gateway/gatewaytest '^TestBackupKeepsItsSecretsAndFailsLoudly$'
check 'shield store backup' 'a SQLite file that is in use, backed up and restored' tested ./gateway/gatewaytest '^TestBackupOfSQLiteWhileItIsInUse$'
check 'shield store copy' 'SQLite to Postgres while it runs; sessions and passwords go on' tested ./gateway/gatewaytest '^TestAnInstallationMovesToPostgres$'
check 'shield store copy' 'every column, one moment, all or nothing' tested ./gateway/store '^TestCopy'
check docs/migrations.md 'migrations only add' tested ./gateway/store '^TestMigrations'
check docs/migrations.md 'the release before runs on this schema' tested ./gateway/store/... '^TestReleasesRunOnThisSchema$'
check 'redis-sentinel://, redis-cluster://' 'limits are shared again after a failover' tested ./gateway/ratelimit '^TestLimitsAreSharedAgainAfterAFailover$'
for scenario in pod node postgres sentinel cluster region; do
	check deploy/rehearse/failures.sh "$scenario" deploy/rehearse/failures.sh "$scenario"
done
exit "$status"
