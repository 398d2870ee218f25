#!/usr/bin/env bash
# Puts a backup of backup.sh back into an empty database, and its keys into a data directory.
#   restore.sh -verify DIRECTORY   only looks whether that could be done, as far as the
#                                  identity and the checksums tell; touches nothing
#   restore.sh DIRECTORY
# Nothing is written over anything: a database with tables of the gateway, a SQLite file, or
# another secret key that are there already end it before it has changed something.
#
# Settings:
#   BACKUP_IDENTITY            file with the age identity that the backup was made for
#   BACKUP_SECRETS_IDENTITY    the same for the keys. Default: BACKUP_IDENTITY
#   DATABASE_URL               where to; also DATABASE_URL_FILE
#   SHIELD_DATA_DIR            where secret_key, private_key and keys go
#   RESTORE_SECRETS=elsewhere  the keys are kept elsewhere: restore the database alone
#   SHIELD                     the program shield, for SQLite (shield)
set -euo pipefail
me=restore.sh
umask 077
source "$(dirname "${BASH_SOURCE[0]}")/database.sh"

verify=no
[ "${1:-}" != -verify ] || { verify=yes && shift; }
[ $# = 1 ] || die "usage: restore.sh [-verify] DIRECTORY"
from=$1 data=${SHIELD_DATA_DIR:-} identity=${BACKUP_IDENTITY:-}
secrets_identity=${BACKUP_SECRETS_IDENTITY:-$identity}
[ -r "$identity" ] || die "BACKUP_IDENTITY must name the file of an age identity"
program age age
[ -r "$from/SHA256SUMS" ] || die "$from is no backup: it has no SHA256SUMS"

(cd "$from" && sha256sum --check --strict --quiet SHA256SUMS) >&2 || die "$from is damaged: a checksum does not hold"
for file in "$from"/*; do
	name=${file##*/}
	[ "$name" = SHA256SUMS ] || grep -q "  $name\$" "$from/SHA256SUMS" || die "$from is damaged: $name has no checksum"
done
field() { sed -n "s/^$1: //p" "$from/MANIFEST"; }
[ "$(field format)" = 1 ] || die "$from is of a format that this script does not know"
format=$(field database)

decrypt() {
	local with=$secrets_identity
	[ "$1" != database.age ] || with=$identity
	age --decrypt --identity "$with" "$from/$1"
}
secrets=()
if [ "${RESTORE_SECRETS:-}" != elsewhere ]; then
	for name in secret_key.age private_key.age keys.tar.age; do
		[ ! -e "$from/$name" ] || secrets+=("$name")
	done
fi
# All of it can be read, before any of it is written.
for name in database.age "${secrets[@]}"; do
	decrypt "$name" >/dev/null || die "$name cannot be decrypted with this identity"
done
if [ "$format" = postgres ]; then
	program pg_restore postgresql-client
	# It stops reading after the list, at which age would fail.
	decrypt database.age | { pg_restore --list >/dev/null && cat >/dev/null; } || die "database.age is no dump"
fi
if [ "$verify" = yes ]; then
	echo "$from can be restored: $format, made $(field made)"
	exit
fi

find_database
[ "$kind" = "$format" ] || die "the backup is of $format, and DATABASE_URL is $kind: restore it to $format, then shield store copy"
if [ ${#secrets[@]} -gt 0 ]; then
	[ -n "$data" ] || die "the backup has keys: set SHIELD_DATA_DIR, or RESTORE_SECRETS=elsewhere if they are kept elsewhere"
	for name in "${secrets[@]}"; do
		target=$data/${name%.age}
		[ "$name" != keys.tar.age ] || target=$data/keys
		[ ! -e "$target" ] || die "$target is there already"
	done
fi

case $kind in
postgres)
	program psql postgresql-client
	[ "$schema" = "$(field schema)" ] || die "the backup is of the schema $(field schema), and DATABASE_URL names $schema"
	there=$(sql "SELECT count(*) FROM information_schema.tables WHERE table_schema = '$schema' AND table_name LIKE 'shield\\_%'")
	[ "$there" = 0 ] || die "the database has $there tables of the gateway: restore into an empty one"
	# Who may not make one need not, if it is there.
	[ "$(sql "SELECT count(*) FROM pg_namespace WHERE nspname = '$schema'")" = 1 ] || sql "CREATE SCHEMA $schema"
	decrypt database.age | pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="$url"
	sql "ANALYZE"
	echo "restored $(sql "SELECT count(*) FROM $schema.shield_users") users, $(sql "SELECT count(*) FROM $schema.shield_sessions") sessions"
	;;
sqlite)
	program "${SHIELD:-shield}" shield
	for file in "$path" "$path-wal" "$path-shm"; do
		[ ! -e "$file" ] || die "$file is there already"
	done
	mkdir -p "$(dirname "$path")"
	work=$(mktemp -d "$(dirname "$path")/.restore-XXXXXX")
	trap 'rm -rf "$work"' EXIT
	decrypt database.age >"$work/db"
	"${SHIELD:-shield}" store backup -from "sqlite:$work/db" - >/dev/null || die "database.age is no database"
	[ ! -s "$work/db-wal" ] || die "the restored file is in use"
	mv "$work/db" "$path"
	echo "restored $path"
	;;
esac
if [ ${#secrets[@]} -gt 0 ]; then
	mkdir -p "$data"
	for name in "${secrets[@]}"; do
		case $name in
		keys.tar.age) decrypt "$name" | tar --extract --directory "$data" --no-same-owner ;;
		*)
			decrypt "$name" >"$data/.${name%.age}"
			mv "$data/.${name%.age}" "$data/${name%.age}"
			;;
		esac
	done
	echo "restored ${secrets[*]} into $data"
fi
