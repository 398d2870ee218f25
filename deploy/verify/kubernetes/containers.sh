#!/usr/bin/env bash
# Runs what the pods run, with the commands, variables, files and secrets that they have in a
# cluster, against a real Postgres and a real Redis, and measures the memory that the gateway needs:
#   deploy/test/servers.sh deploy/verify/kubernetes/containers.sh MANIFESTS
# MANIFESTS are those of overlays/production. Paths of mounted volumes are below a directory of its
# own; the gateway has one provider of each kind, which is more than as delivered, so that all
# plugins are compiled. It prints a line for each check.
set -euo pipefail
cd "$(dirname "$0")/../../.."
manifests=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/shield-containers.XXXXXX")
root=$work/root
gateway=''

stop() {
	local status=$?
	trap - EXIT INT TERM
	[ -z "$gateway" ] || kill "$gateway" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$work"
	exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ok() { printf '%s\t%s\tok\n' "$1" "$2"; }

fail() { # fail ARTEFACT CHECK WHY
	printf '%s\t%s\tFAIL\n' "$1" "$2"
	echo "$3" >&2
	[ ! -s "$work/log" ] || tail -n 10 "$work/log" >&2
	exit 1
}

need() { # need PROGRAM PACKAGE
	command -v "$1" >/dev/null && return
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing $2" >&2
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "$2"; } >"$work/apt.log" 2>&1 || tail -n 5 "$work/apt.log" >&2
	fi
	command -v "$1" >/dev/null || { echo "$1 is missing: apt-get install $2" >&2; exit 1; }
}
need curl curl
need openssl openssl
need age age
need pg_dump postgresql-client

go build -o "$work/manifests" ./deploy/verify/kubernetes
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$work/shield" ./cmd/shield
for plugin in email oauth saml; do
	GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags '-s -w' -buildmode=c-shared -o "$work/plugins/$plugin.wasm" "./plugins/$plugin/cmd"
done

# container KIND NAME: sets command and env, with what is mounted below root.
container() {
	local what value
	command=() env=(PATH="$PATH")
	while IFS=$'\t' read -r what value; do
		case $what:$value in
		command:/bin/*) command+=("$value") ;;
		command:/*) command+=("$root$value") ;;
		command:*) command+=("$value") ;;
		env:*=/*) env+=("${value%%=*}=$root${value#*=}") ;;
		env:*) env+=("$value") ;;
		esac
	done < <("$work/manifests" container "$1" "$2" <"$manifests")
	[ "${#command[@]}" -gt 0 ] || { echo "$1 $2 runs nothing" >&2; exit 1; }
}

# The Secret, as it is mounted.
mkdir -p "$root"/etc/shield "$root"/run/secrets/shield "$root"/scripts "$root"/backup "$root"/var/lib/shield
(
	umask 027
	cd "$root/run/secrets/shield"
	printf %s "$DATABASE_URL" >database-url
	printf %s "$REDIS_URL" >redis-url
	openssl rand -hex 32 >secret-key
	openssl genrsa -out jwt-private-key 2048 2>/dev/null
	: >jwt-public-key
	echo secret >smtp-password
)

# --- the migration

"$work/manifests" value shield-migrate migrate.yaml <"$manifests" >"$root/etc/shield/migrate.yaml"
container Job shield-migrate
env -i "${env[@]}" "$work/shield" "${command[@]}" >"$work/log" 2>&1 || fail 'Job shield-migrate' 'makes the schema' 'it failed'
env -i "${env[@]}" "$work/shield" migrate status >"$work/log" 2>&1 || fail 'Job shield-migrate' 'makes the schema' 'some are pending'
ok 'Job shield-migrate' 'makes the schema'

# --- the gateway

free_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 10000))
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
	done
}
public=$(free_port) admin=$(free_port)
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=idp -days 2 -keyout "$work/idp.key" -out "$work/idp.crt" 2>/dev/null
cat >"$work/providers" <<'YAML'
  - name: github
    label: GitHub
    plugin: ${SHIELD_PLUGINS}/oauth.wasm
    capabilities: [kv, log, http, jwt, secret]
    http: {allow: ["https://github.com", "https://api.github.com"]}
    secrets: [{name: client_secret, value: secret}]
    config: {preset: github, client_id: Iv1.0123456789abcdef}
  - name: saml
    label: Company
    plugin: ${SHIELD_PLUGINS}/saml.wasm
    capabilities: [kv, log, http, xmldsig]
    http: {allow: ["https://login.example.com"]}
    config:
      entity_id: https://api.materi.dev/auth/saml/metadata
      idps:
        - name: company
          entity_id: urn:company
          sso_url: https://login.example.com/saml/sso
          certificates: ["${IDP_CERTIFICATE}"]
          domains: [example.com]

YAML
awk -v providers="$work/providers" '/^rate_limits:/ { while ((getline line <providers) > 0) print line } { print }' deploy/kubernetes/base/shield.yaml |
	sed -e "s|0.0.0.0:8000|127.0.0.1:$public|" -e "s|0.0.0.0:9000|127.0.0.1:$admin|" -e "s|^data_dir: /|data_dir: $root/|" >"$root/etc/shield/shield.yaml"

container Deployment shield
while IFS= read -r line; do
	[[ $line == '#'* ]] || env+=("$line")
done <deploy/kubernetes/base/shield.env
# Requests come from here, each in another client's name.
env+=(SHIELD_PLUGINS="$work/plugins" IDP_CERTIFICATE="$(cat "$work/idp.crt")" SHIELD_TRUSTED_PROXIES=127.0.0.0/8)

resident() { # resident VmRSS|VmHWM: in MiB
	awk -v name="$1:" '$1 == name { print int($2 / 1024) }' "/proc/$gateway/status"
}

start() {
	local i
	env -i "${env[@]}" "$work/shield" "${command[@]}" >"$work/log" 2>&1 &
	gateway=$!
	for ((i = 0; i < 1200; i++)); do
		[ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$admin/ready/")" != 200 ] || return 0
		kill -0 "$gateway" 2>/dev/null || break
		sleep 0.1
	done
	curl -s "http://127.0.0.1:$admin/ready/" >&2 || true
	fail 'Deployment shield' 'runs' 'the gateway is not ready'
}

finish() {
	local began=$SECONDS status=0
	kill "$gateway"
	wait "$gateway" || status=$?
	gateway=''
	took=$((SECONDS - began))
	[ "$status" = 0 ] || fail 'Deployment shield' 'ends with 0' "it ended with $status"
}

# Each has a password hashed, 16 at a time, which is as many as the gateway does.
people() {
	seq "$1" | xargs -P 16 -I N curl -s -o /dev/null -w '%{http_code}\n' -H 'Content-Type: application/json' -H 'Host: api.materi.dev' \
		-H 'X-Forwarded-For: 2001:db8:N::1' -H 'X-Forwarded-Proto: https' -d '{"email":"personN@example.com","password":"a long good passphrase","name":"N"}' "http://127.0.0.1:$public/auth/register" |
		sort | uniq -c
}

start
cold=$(resident VmHWM)
finish
start
ok 'Deployment shield' 'runs, with its configuration and all plugins'
warm=$(resident VmRSS)
said=$(people 400)
[[ $said =~ ^\ *400\ 202$ ]] || fail 'Deployment shield' 'registers people' "people were answered: $said"
busy=$(resident VmHWM)
finish

# of KIND THING: what the Deployment has of requests or limits, in MiB
of() { sed -n "/^ *$1:/,/memory:/s/^ *memory: //p" deploy/kubernetes/base/deployment.yaml | sed 's/Gi$/ * 1024/; s/Mi$//'; }
request=$(($(of requests))) limit=$(($(of limits)))
said="memory: cold start $cold MiB, warm $warm, hashing 16 passwords at a time $busy; asked for $request, limit $limit"
[ $((busy * 100)) -le $((request * 80)) ] || fail 'Deployment shield' "$said" 'the autoscaler would add pods, at 80 % of the request'
[ $((cold * 4)) -le $((limit * 3)) ] || fail 'Deployment shield' "$said" 'a cold start leaves less than a quarter of the limit'
[ $((busy * 4)) -le $((limit * 3)) ] || fail 'Deployment shield' "$said" 'less than a quarter of the limit is left'
ok 'Deployment shield' "$said"

period=$(sed -n 's/^ *terminationGracePeriodSeconds: //p' deploy/kubernetes/base/deployment.yaml)
sleeps=$(sed -n 's/^ *sleep: {seconds: \([0-9]*\)}$/\1/p' deploy/kubernetes/base/deployment.yaml)
said="ends $took s after SIGTERM, idle; with preStop the pod has $((period - sleeps)) s for it"
[ "$took" -lt $((period - sleeps)) ] || fail 'Deployment shield' "$said" 'it would be killed'
ok 'Deployment shield' "$said"

# --- the backup

cp deploy/kubernetes/components/backup/*.sh "$root/scripts"
container CronJob shield-backup
cp deploy/kubernetes/components/backup/recipients "$root/scripts"
! env -i "${env[@]}" "${command[@]}" >"$work/log" 2>&1 || fail 'CronJob shield-backup' 'makes no backup for nobody' 'it made one, and no key is delivered'
ok 'CronJob shield-backup' 'makes no backup for nobody'
age-keygen -o "$work/identity" 2>/dev/null
age-keygen -y "$work/identity" >>"$root/scripts/recipients"
made=$(env -i "${env[@]}" "${command[@]}" 2>"$work/log") || fail 'CronJob shield-backup' 'makes a backup that can be read' 'it failed'
[[ $made == "$root"/backup/shield-* ]] || fail 'CronJob shield-backup' 'makes a backup that can be read' "it made $made"
(cd "$made" && sha256sum --check --quiet SHA256SUMS) || fail 'CronJob shield-backup' 'makes a backup that can be read' 'the sums are wrong'
age --decrypt --identity "$work/identity" --output "$work/database" "$made/database.age" || fail 'CronJob shield-backup' 'makes a backup that can be read' 'it cannot be decrypted'
pg_restore --list "$work/database" >"$work/list" || fail 'CronJob shield-backup' 'makes a backup that can be read' 'pg_restore cannot read it'
grep -q 'TABLE DATA .* shield_' "$work/list" || fail 'CronJob shield-backup' 'makes a backup that can be read' 'it holds no table'
[ ! -e "$made/secret_key.age" ] || fail 'CronJob shield-backup' 'makes a backup that can be read' 'keys are in it, which are kept elsewhere'
ok 'CronJob shield-backup' 'makes a backup that can be read'
