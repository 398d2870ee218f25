#!/usr/bin/env bash
# Makes the secrets of docker-compose.secure.yml, each a file of a directory that nobody else
# may enter. In there they can be read by all, since each container has a user of its own and
# sees those files alone that its service names. What is there already is left alone; the
# password of the mail server is yours to give.
#   deploy/compose/secrets.sh DIRECTORY < PASSWORD-OF-THE-MAIL-SERVER
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 DIRECTORY < PASSWORD-OF-THE-MAIL-SERVER" >&2; exit 2; }
umask 077
mkdir -p "$1"
chmod 700 "$1"
cd "$1"

# secret NAME: keeps standard input under that name, unless there is one.
secret() {
	[ ! -e "$1" ] || { cat >/dev/null; return 0; }
	cat >"$1.part"
	[ -s "$1.part" ] || { echo "$1 would be empty" >&2; rm -f "$1.part"; exit 1; }
	chmod 444 "$1.part"
	mv "$1.part" "$1"
}

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

[ -e smtp_password ] || tr -d '\n' | secret smtp_password
random | secret secret_key
random | secret postgres_password
random | secret shield_password
printf 'postgres://shield:%s@db:5432/shield?sslmode=disable' "$(cat shield_password)" | secret database_url

# The gateway may use its own keys and run scripts; the probe may ask whether anybody is there.
if [ ! -e redis_users ]; then
	password=$(random)
	secret redis_users <<-ACL
		user default off
		user probe on nopass resetkeys resetchannels -@all +ping
		user shield on >$password resetkeys ~shield:* resetchannels &shield:* +@all -@admin -@dangerous
	ACL
	printf 'redis://shield:%s@redis:6379/0' "$password" | secret redis_url
fi
