#!/usr/bin/env bash
# Makes one backup of an installation: its database and, since nobody can refresh without
# them, its keys. Everything is encrypted with age on its way; no plain data reaches the disk.
#
# A backup is a directory in BACKUP_DIR, shield-YYYYMMDDTHHMMSSZ, that appears when it is
# complete:
#   database.age     pg_dump's custom format, or a SQLite file
#   secret_key.age   the secret key of the installation
#   private_key.age  JWT_PRIVATE_KEY, if that is set
#   keys.tar.age     the signing keys of the data directory, if there are some
#   MANIFEST         what it is; SHA256SUMS, of all of these
# restore.sh puts it back.
#
# Settings; each may also be given as NAME_FILE, the path of a file that holds it:
#   DATABASE_URL      postgres://... or sqlite:PATH, as the gateway has it
#   SECRET_KEY        as the gateway has it, unless it is in the data directory
#   JWT_PRIVATE_KEY   the same
# and these, which may not:
#   BACKUP_DIR                 where backups are kept
#   BACKUP_RECIPIENTS          file with age public keys, one a line; any of their owners can restore
#   BACKUP_RECIPIENT           or one age public key itself
#   BACKUP_SECRETS_RECIPIENTS  the same for the keys. Default: the same keys
#   SHIELD_DATA_DIR            the data directory (data_dir), for its keys
#   BACKUP_SECRETS=elsewhere   the keys are kept elsewhere (a vault): save none
#   BACKUP_KEEP_DAYS           backups that are older are removed (30) ...
#   BACKUP_KEEP_LEAST          ... but for so many of the newest (7)
#   BACKUP_PUSH                program that takes a complete backup elsewhere; its argument is
#                              the directory. If it fails, so does the backup, which stays
#   SHIELD                     the program shield, for SQLite (shield)
set -euo pipefail
me=backup.sh
umask 077
source "$(dirname "${BASH_SOURCE[0]}")/database.sh"

dir=${BACKUP_DIR:-} data=${SHIELD_DATA_DIR:-}
keep_days=${BACKUP_KEEP_DAYS:-30} keep_least=${BACKUP_KEEP_LEAST:-7}
[ -n "$dir" ] || die "BACKUP_DIR is needed"
if [ -n "${BACKUP_RECIPIENT:-}" ]; then # it is public
	data_for=(--recipient "$BACKUP_RECIPIENT")
else
	[ -r "${BACKUP_RECIPIENTS:-}" ] || die "BACKUP_RECIPIENTS must name a file with age public keys"
	data_for=(--recipients-file "$BACKUP_RECIPIENTS")
fi
secrets_for=("${data_for[@]}")
if [ -n "${BACKUP_SECRETS_RECIPIENTS:-}" ]; then
	[ -r "$BACKUP_SECRETS_RECIPIENTS" ] || die "BACKUP_SECRETS_RECIPIENTS must name a file with age public keys"
	secrets_for=(--recipients-file "$BACKUP_SECRETS_RECIPIENTS")
fi
[[ $keep_days =~ ^[0-9]+$ && $keep_least =~ ^[1-9][0-9]*$ ]] || die "BACKUP_KEEP_DAYS and BACKUP_KEEP_LEAST must be numbers, and one backup must stay"
program age age
find_database
secret=$(setting SECRET_KEY)
private=$(setting JWT_PRIVATE_KEY)
unset SECRET_KEY JWT_PRIVATE_KEY # the programs below need neither
if [ "${BACKUP_SECRETS:-}" != elsewhere ] && [ -z "$secret" ]; then
	[ -n "$data" ] && [ -r "$data/secret_key" ] ||
		die "the secret key would not be saved, and without it nobody can refresh: set SECRET_KEY or SHIELD_DATA_DIR, or BACKUP_SECRETS=elsewhere if it is kept elsewhere"
fi

mkdir -p "$dir"
exec 9>"$dir/.lock"
flock -n 9 || die "another backup is being made in $dir"
# What a backup that was killed has left; the lock says that nobody works on it.
rm -rf "$dir"/.part-*
part=$(mktemp -d "$dir/.part-XXXXXX")
trap 'rm -rf "$part"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

encrypt() { age --encrypt "${data_for[@]}" --output "$part/$1"; }
encrypt_secret() { age --encrypt "${secrets_for[@]}" --output "$part/$1"; }

stamp=$(date -u +%Y%m%dT%H%M%SZ)
while [ -e "$dir/shield-$stamp" ]; do # one a second is enough
	sleep 1
	stamp=$(date -u +%Y%m%dT%H%M%SZ)
done
case $kind in
postgres)
	program pg_dump postgresql-client
	tool=$(pg_dump --version)
	# The gateway's tables alone: another program may have its own beside them.
	pg_dump --format=custom --no-owner --no-privileges --table="$schema.shield_*" --dbname="$url" | encrypt database.age
	;;
sqlite)
	program "${SHIELD:-shield}" shield
	tool=$("${SHIELD:-shield}" version)
	"${SHIELD:-shield}" store backup -from "sqlite:$path" - | encrypt database.age
	;;
esac
if [ "${BACKUP_SECRETS:-}" != elsewhere ]; then
	if [ -n "$secret" ]; then
		printf '%s\n' "$secret" | encrypt_secret secret_key.age
	else
		encrypt_secret secret_key.age <"$data/secret_key"
	fi
	[ -z "$private" ] || printf '%s\n' "$private" | encrypt_secret private_key.age
	if [ -n "$data" ] && [ -d "$data/keys" ]; then
		tar --create --directory "$data" keys | encrypt_secret keys.tar.age
	fi
fi
printf 'format: 1\nmade: %s\ndatabase: %s\nschema: %s\ntool: %s\n' "$stamp" "$kind" "${schema:-}" "$tool" >"$part/MANIFEST"
(cd "$part" && sha256sum -- * >.sums && mv .sums SHA256SUMS)
sync -f "$part"
final=$dir/shield-$stamp
mv -T "$part" "$final"
sync -f "$dir"
[ -z "${BACKUP_PUSH:-}" ] || "$BACKUP_PUSH" "$final" >&2 || die "$BACKUP_PUSH failed; the backup stays in $final"

# Retention goes by the names, and only after a backup that succeeded.
oldest=shield-$(date -u -d "$keep_days days ago" +%Y%m%dT%H%M%SZ)
mapfile -t all < <(find "$dir" -mindepth 1 -maxdepth 1 -type d -regextype posix-extended -regex '.*/shield-[0-9]{8}T[0-9]{6}Z' -printf '%f\n' | sort -r)
for name in "${all[@]:$keep_least}"; do
	[[ ! $name < $oldest ]] || rm -rf "${dir:?}/$name"
done
echo "$final"
