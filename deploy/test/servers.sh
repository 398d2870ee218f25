#!/usr/bin/env bash
# Runs a command with a real Postgres and a real Redis: those of DATABASE_URL and REDIS_URL
# where they are set, else private ones on ports of their own, with data in a temporary
# directory, stopped and removed at the end.
#   deploy/test/servers.sh go test ./...
set -euo pipefail

work=$(mktemp -d "${TMPDIR:-/tmp}/shield-servers.XXXXXX")
chmod 755 "$work"
redis_pid=''

stop() {
	local status=$?
	trap - EXIT INT TERM
	[ -z "$redis_pid" ] || kill "$redis_pid" 2>/dev/null || true
	# Its own file tells the server's process; INT is its fast shutdown.
	[ ! -s "$work/postgres/db/postmaster.pid" ] || kill -INT "$(head -n 1 "$work/postgres/db/postmaster.pid")" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$work"
	exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# program NAME: its path, also where Debian hides Postgres'.
program() {
	command -v "$1" 2>/dev/null && return
	local found
	found=$(ls -d /usr/lib/postgresql/*/bin/"$1" 2>/dev/null | sort -V | tail -n 1)
	[ -n "$found" ] && echo "$found"
}

# need PROGRAM PACKAGE: installs the Debian package where that is possible.
need() {
	program "$1" >/dev/null && return
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing $2" >&2
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2"; } >"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log" >&2; exit 1; }
	fi
	program "$1" >/dev/null || { echo "tests need $1: install it (Debian: apt-get install $2) or set DATABASE_URL and REDIS_URL" >&2; exit 1; }
}

free_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 12000)) # below those that outgoing connections take
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
	done
}

# until_ready WHAT COMMAND...: waits up to 30 s for COMMAND to succeed.
until_ready() {
	local what=$1 i
	shift
	for ((i = 0; i < 300; i++)); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.1
	done
	echo "$what did not start:" >&2
	tail -n 20 "$work/$what.log" >&2
	exit 1
}

# Postgres refuses to run as root, so there it runs as the user of Debian's package.
as_postgres() (
	[ "$(id -u)" = 0 ] || exec "$@"
	user=postgres
	id "$user" >/dev/null 2>&1 || user=nobody
	exec setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups "$@"
)

start_postgres() {
	need initdb postgresql
	need postgres postgresql
	local data=$work/postgres port
	port=$(free_port)
	mkdir "$data"
	if [ "$(id -u)" = 0 ]; then
		chown "$(id -u postgres 2>/dev/null || id -u nobody)" "$data"
	fi
	as_postgres "$(program initdb)" -D "$data/db" -U shield --auth=trust --encoding=UTF8 --locale=C >"$work/postgres.log" 2>&1
	# fsync stays on: a test kills the process between commit and answer, not the machine,
	# but what is tested should be what is run.
	as_postgres "$(program postgres)" -D "$data/db" -p "$port" -k "$data" -c listen_addresses=127.0.0.1 -c max_connections=400 >>"$work/postgres.log" 2>&1 &
	until_ready postgres bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
	# The port opens before the server takes connections.
	until_ready postgres "$(program pg_isready)" -h 127.0.0.1 -p "$port" -U shield -d postgres
	export DATABASE_URL="postgres://shield@127.0.0.1:$port/postgres?sslmode=disable"
}

start_redis() {
	need redis-server redis-server
	local port
	port=$(free_port)
	mkdir "$work/redis"
	"$(program redis-server)" --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work/redis" >"$work/redis.log" 2>&1 &
	redis_pid=$!
	until_ready redis bash -c "exec 3<>/dev/tcp/127.0.0.1/$port && printf 'PING\r\n' >&3 && read -r -t 1 line <&3 && [[ \$line == +PONG* ]]"
	export REDIS_URL="redis://127.0.0.1:$port/0"
}

need xmlsec1 xmlsec1 # what gateway/xmlsig is held to
need age age         # deploy/backup
need pg_dump postgresql-client
need redis-server redis-server # for failovers, whatever REDIS_URL names
[ -n "${DATABASE_URL:-}" ] || start_postgres
[ -n "${REDIS_URL:-}" ] || start_redis
"$@"
