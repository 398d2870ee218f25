#!/usr/bin/env bash
# Rehearses what the table in docs/backup.md promises, with real processes on this machine:
# three gateways on one Postgres and one Redis, and people who use them without a pause.
#   deploy/rehearse/failures.sh                    all of it
#   deploy/rehearse/failures.sh pod node ...       only these
# It prints one line for each, SCENARIO<TAB>WHAT<TAB>MEASURED, and after them what the people
# noticed; it fails if one of them was locked out, or a promise was not kept.
set -euo pipefail
cd "$(dirname "$0")/../.."
scenarios=("$@")
[ $# -gt 0 ] || scenarios=(pod node postgres sentinel cluster region)

work=$(mktemp -d "${TMPDIR:-/tmp}/shield-rehearsal.XXXXXX")
chmod 755 "$work"
pids=() gateways=() ports=() client=''
stop_all() {
	local pid
	for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done; done
	for pid in "$work"/*/postmaster.pid; do [ ! -s "$pid" ] || kill -INT "$(head -n 1 "$pid")" 2>/dev/null || true; done
	wait 2>/dev/null || true
	pids=() gateways=() ports=() client=''
}
finish() {
	local status=$?
	trap - EXIT INT TERM
	stop_all
	[ -n "${KEEP:-}" ] || rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

program() {
	command -v "$1" 2>/dev/null && return
	local found
	found=$(ls -d /usr/lib/postgresql/*/bin/"$1" 2>/dev/null | sort -V | tail -n 1)
	[ -n "$found" ] && echo "$found"
}
for needed in initdb:postgresql pg_basebackup:postgresql redis-server:redis-server redis-cli:redis-tools age:age psql:postgresql-client curl:curl; do
	program "${needed%:*}" >/dev/null || { echo "the rehearsal needs ${needed%:*}: apt-get install ${needed#*:}" >&2; exit 1; }
done

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f s", b - a }'; }
# within SECONDS WHAT SINCE: tells how long it took, and fails if that is more than was promised.
within() {
	local took
	took=$(since "$3")
	tell "$2" "$took"
	awk -v took="${took% s}" -v most="$1" 'BEGIN { exit !(took <= most) }' || die "$2: more than $1 s"
}
tell() { printf '%s\t%s\t%s\n' "$scenario" "$1" "$2"; }
die() { echo "$scenario: $*" >&2; tail -n 5 "$work"/*.log >&2 || true; exit 1; }
# await WHAT COMMAND...: for a minute at most.
await() {
	local what=$1 i
	shift
	for ((i = 0; i < 1200; i++)); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.05
	done
	die "timed out waiting for $what"
}
free_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 12000))
		[[ " ${ports[*]} " != *" $port "* ]] || continue
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	ports+=("$port")
	REPLY=$port
}

as_postgres() (
	[ "$(id -u)" = 0 ] || exec "$@"
	user=postgres
	id "$user" >/dev/null 2>&1 || user=nobody
	exec setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups "$@"
)
new_postgres() { # NAME: its directory, and port in REPLY
	local dir=$work/$1
	mkdir "$dir"
	[ "$(id -u)" != 0 ] || chown "$(id -u postgres 2>/dev/null || id -u nobody)" "$dir"
	chmod 700 "$dir"
	free_port
}
run_postgres() { # NAME PORT
	as_postgres "$(program postgres)" -D "$work/$1" -p "$2" -k "$work/$1" -c listen_addresses=127.0.0.1 -c max_connections=200 -c wal_level=replica -c hot_standby=on >>"$work/$1.log" 2>&1 &
	await "postgres $1" "$(program pg_isready)" -h 127.0.0.1 -p "$2" -U shield -d postgres
}
start_postgres() { # NAME
	new_postgres "$1"
	as_postgres "$(program initdb)" -D "$work/$1" -U shield --auth=trust --encoding=UTF8 --locale=C >"$work/$1.log" 2>&1
	echo "host replication shield 127.0.0.1/32 trust" >>"$work/$1/pg_hba.conf"
	run_postgres "$1" "$REPLY"
}
# owned: what was just started ends with the scenario. Bash need not tell how.
owned() {
	pids+=("$!")
	disown
}
start_redis() { # NAME LINES...: port in REPLY
	local name=$1
	shift
	free_port
	mkdir "$work/$name"
	{ printf 'port %s\nbind 127.0.0.1\ndir %s\nlogfile %s\n' "$REPLY" "$work/$name" "$work/$name.log" && printf '%s\n' "$@"; } >"$work/$name/conf"
	local mode=''
	[[ $name != sentinel-* ]] || mode=--sentinel
	redis-server "$work/$name/conf" $mode >/dev/null 2>&1 &
	echo "$!" >"$work/$name/pid"
	owned
	await "redis $name" redis-cli -p "$REPLY" ping
}

start_gateway() { # NUMBER PORT
	SHIELD_LISTEN=127.0.0.1:$2 "$work/bin/shield" serve -config deploy/rehearse/shield.yaml >>"$work/gateway-$1.log" 2>&1 &
	echo "$!" >"$work/gateway-$1.pid"
	owned
}
ready() { curl -fsS -o /dev/null --max-time 2 "http://127.0.0.1:$1/ready/"; }
alone() { [ "$(curl -fsS --max-time 2 "http://127.0.0.1:$1/metrics/" | sed -n 's/^materi_ratelimit_degraded //p')" = 1 ]; }
sharing() { [ "$(curl -fsS --max-time 2 "http://127.0.0.1:$1/metrics/" | sed -n 's/^materi_ratelimit_degraded //p')" = 0 ]; }

# installation: three gateways and the people.
installation() {
	export SHIELD_DATA=$work/data-$scenario SHIELD_PLUGINS=$work/bin
	mkdir -p "$SHIELD_DATA/mail"
	[ ! -d "$work/cache" ] || cp -r "$work/cache" "$SHIELD_DATA/cache"
	free_port
	export SHIELD_UPSTREAM=http://127.0.0.1:$REPLY
	"$work/bin/upstream" -listen "127.0.0.1:$REPLY" >>"$work/upstream.log" 2>&1 &
	owned
	start_gateways 1 2 3
	people
}
start_gateways() {
	local n
	gateways=()
	for n in "$@"; do
		free_port
		gateways+=("$REPLY")
		start_gateway "$n" "$REPLY"
		await "gateway $n" ready "$REPLY"
	done
	[ -d "$work/cache" ] || cp -r "$SHIELD_DATA/cache" "$work/cache" # compiling the plugin is not what is measured
}
people() {
	local urls
	urls=$(printf 'http://127.0.0.1:%s,' "${gateways[@]}")
	"$work/bin/client" -gateways "${urls%,}" -mail "$SHIELD_DATA/mail" -people "${PEOPLE:-8}" >"$work/client-$scenario.out" 2>>"$work/client.log" &
	client=$!
	pids+=("$client")
	await "the people" grep -q ready "$work/client-$scenario.out"
	sleep 2
}
# noticed: what the people say. What may fail is named by a pattern of operations.
noticed() {
	sleep 2
	kill -TERM "$client"
	wait "$client" || die "somebody was locked out"
	grep $'\t' "$work/client-$scenario.out" | while IFS=$'\t' read -r operation requests errors kinds pause; do
		if [ "$operation" = sessions ]; then
			tell "sessions lost" "$errors of $requests"
		else
			tell "$operation" "$requests requests, $errors errors ($kinds), longest pause $pause s"
		fi
		[ "$errors" = 0 ] || [[ $operation =~ ^($1)$ ]] || die "$operation: $errors errors, none may be"
	done
	client=''
}

rehearse_pod() {
	start_postgres a && export DATABASE_URL="postgres://shield@127.0.0.1:$REPLY/postgres?sslmode=disable"
	start_redis r && export REDIS_URL=redis://127.0.0.1:$REPLY/0
	installation
	local t pid
	pid=$(cat "$work/gateway-1.pid")
	t=$(now)
	kill -KILL "$pid"
	start_gateway 1 "${gateways[0]}" # what the kubelet does
	await "the new process" ready "${gateways[0]}"
	within 60 "killed, until the new process is ready" "$t"
	noticed 'proxied read|refresh|login' # what was in flight
}

rehearse_node() {
	start_postgres a && export DATABASE_URL="postgres://shield@127.0.0.1:$REPLY/postgres?sslmode=disable"
	start_redis r && export REDIS_URL=redis://127.0.0.1:$REPLY/0
	installation
	local t
	t=$(now)
	kill -KILL "$(cat "$work/gateway-1.pid")" "$(cat "$work/gateway-2.pid")"
	sleep 3 # the one that is left does it all
	local gone
	gone=$(since "$t")
	t=$(now)
	start_gateway 1 "${gateways[0]}"
	start_gateway 2 "${gateways[1]}"
	await "two new processes" ready "${gateways[0]}"
	await "two new processes" ready "${gateways[1]}"
	tell "two of three killed for" "$gone"
	within 300 "from the start of two new ones until they are ready" "$t"
	noticed 'proxied read|refresh|login'
}

rehearse_postgres() {
	start_postgres a
	local a=$REPLY b t
	new_postgres b
	b=$REPLY
	as_postgres "$(program pg_basebackup)" -h 127.0.0.1 -p "$a" -U shield -D "$work/b" -R -X stream >>"$work/b.log" 2>&1
	run_postgres b "$b"
	start_redis r && export REDIS_URL=redis://127.0.0.1:$REPLY/0
	export DATABASE_URL="postgres://shield@127.0.0.1:$a,127.0.0.1:$b/postgres?sslmode=disable&target_session_attrs=read-write"
	installation
	t=$(now)
	kill -KILL "$(head -n 1 "$work/a/postmaster.pid")"
	rm -f "$work/a/postmaster.pid"
	sleep 2 # until somebody, or something, decides
	local decided
	decided=$(now)
	as_postgres "$(program pg_ctl)" -D "$work/b" -w promote >>"$work/b.log" 2>&1
	tell "promoting the replica" "$(since "$decided")"
	await "the gateways" ready "${gateways[0]}"
	await "the gateways" ready "${gateways[1]}"
	await "the gateways" ready "${gateways[2]}"
	within 3600 "primary killed, until all gateways are ready" "$t"
	noticed 'refresh|login|sessions'
}

# redis_failover PORT...: kills what is in doomed and waits for the limits to be shared.
redis_failover() {
	local t port
	for port in "${gateways[@]}"; do await "shared limits" sharing "$port"; done
	t=$(now)
	kill -KILL "$(cat "$work/$1/pid")"
	for port in "${gateways[@]}"; do await "local limits" alone "$port"; done
	tell "master killed, until all gateways count alone" "$(since "$t")"
	for port in "${gateways[@]}"; do await "shared limits" sharing "$port"; done
	within 60 "master killed, until limits are shared again" "$t"
	noticed none
}

rehearse_sentinel() {
	start_postgres a && export DATABASE_URL="postgres://shield@127.0.0.1:$REPLY/postgres?sslmode=disable"
	start_redis redis-1 'save ""'
	local master=$REPLY n addrs=''
	start_redis redis-2 'save ""' 'repl-diskless-sync-delay 0' "replicaof 127.0.0.1 $master"
	for n in 1 2 3; do
		start_redis sentinel-$n "sentinel monitor shield 127.0.0.1 $master 2" 'sentinel down-after-milliseconds shield 2000' 'sentinel failover-timeout shield 6000'
		addrs+=${addrs:+,}127.0.0.1:$REPLY
	done
	knows() { redis-cli -p "$1" sentinel master shield | paste - - | grep -q "^num-slaves.1" && redis-cli -p "$1" sentinel master shield | paste - - | grep -q "^num-other-sentinels.2"; }
	await "the sentinels" knows "$REPLY"
	export REDIS_URL=redis-sentinel://$addrs/shield
	installation
	redis_failover redis-1
}

rehearse_cluster() {
	start_postgres a && export DATABASE_URL="postgres://shield@127.0.0.1:$REPLY/postgres?sslmode=disable"
	local n addrs=() bus
	for n in 1 2 3 4 5 6; do
		free_port
		bus=$REPLY
		start_redis redis-$n 'save ""' 'cluster-enabled yes' 'cluster-node-timeout 2000' "cluster-port $bus" 'repl-diskless-sync-delay 0'
		addrs+=("127.0.0.1:$REPLY")
	done
	redis-cli --cluster create "${addrs[@]}" --cluster-replicas 1 --cluster-yes >"$work/cluster.log" 2>&1
	whole() { redis-cli -p "${addrs[0]#*:}" cluster info | grep -q cluster_state:ok && redis-cli -p "${addrs[0]#*:}" info replication | grep -q state=online; }
	await "the cluster" whole
	REDIS_URL=redis-cluster://$(IFS=, && echo "${addrs[*]}")
	export REDIS_URL
	installation
	redis_failover redis-1
}

rehearse_region() {
	start_postgres a && export DATABASE_URL="postgres://shield@127.0.0.1:$REPLY/postgres?sslmode=disable"
	start_redis r && export REDIS_URL=redis://127.0.0.1:$REPLY/0
	installation
	export BACKUP_DIR=$work/backups BACKUP_RECIPIENTS=$work/recipients BACKUP_IDENTITY=$work/identity SHIELD_DATA_DIR=$SHIELD_DATA
	age-keygen -o "$BACKUP_IDENTITY" 2>/dev/null
	age-keygen -y "$BACKUP_IDENTITY" >"$BACKUP_RECIPIENTS"
	local t made
	t=$(now)
	made=$(deploy/backup/backup.sh)
	tell "a backup, under load" "$(since "$t")"
	sleep 1
	t=$(now)
	# Everything is gone: gateways, database, keys.
	local pid
	for n in 1 2 3; do kill -KILL "$(cat "$work/gateway-$n.pid")"; done
	kill -KILL "$(head -n 1 "$work/a/postmaster.pid")"
	rm -rf "$work/a" "$SHIELD_DATA/secret_key" "$SHIELD_DATA/keys"
	start_postgres b && export DATABASE_URL="postgres://shield@127.0.0.1:$REPLY/postgres?sslmode=disable"
	deploy/backup/restore.sh "$made" >>"$work/restore.log"
	local n
	for n in 1 2 3; do start_gateway "$n" "${gateways[n - 1]}"; done
	for n in 0 1 2; do await "the gateways" ready "${gateways[n]}"; done
	within 14400 "all gone, until restored and ready" "$t"
	noticed 'proxied read|refresh|login|sessions'
}

mkdir "$work/bin"
CGO_ENABLED=0 go build -trimpath -o "$work/bin/" ./cmd/shield ./deploy/rehearse/client ./examples/quickstart/upstream
GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags "-s -w" -buildmode=c-shared -o "$work/bin/email.wasm" ./plugins/email/cmd
for scenario in "${scenarios[@]}"; do
	case $scenario in
	pod | node | postgres | sentinel | cluster | region) ;;
	*)
		echo "no scenario $scenario: pod, node, postgres, sentinel, cluster, region" >&2
		exit 2
		;;
	esac
	"rehearse_$scenario"
	stop_all
	rm -rf "$work"/a "$work"/b "$work"/redis-* "$work"/sentinel-* "$work"/r
done
