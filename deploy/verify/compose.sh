#!/usr/bin/env bash
# Brings up docker-compose.yml and docker-compose.secure.yml and goes through a login in each. A
# Docker of its own is started for that (containers/docker.sh), which needs root and Debian.
# Compose and Mailpit are built from their Go modules, some minutes the first time; Postgres,
# Redis and Prometheus are Debian's, in images that are made here and behave like the public
# ones. Each line of standard output is artefact, check, result, with tabs between.
#   deploy/verify/compose.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/verify/containers/docker.sh

prepare() {
	packages docker-compose.yml docker-registry
	tool docker-compose github.com/docker/compose/v2@v2.40.3 cmd || not_run docker-compose.yml 'every check' 'Docker Compose cannot be built from its module'
	tool mailpit github.com/axllent/mailpit@v1.27.11 '' || not_run docker-compose.yml 'every check' 'Mailpit cannot be built from its module'
}
alone docker-compose.yml "$0" "$@"

registry=127.0.0.1:5000
secrets=$work/secrets

compose() { "$containers/bin/docker-compose" -p "$project" -f "$file" "${more[@]}" "$@"; }
more=()

# stand_in NAME: an image that is made here, from the Dockerfile on standard input and the files
# of the directory NAME of this run.
stand_in() {
	mkdir -p "$work/stand-in"
	cat >"$work/stand-in/Dockerfile"
	DOCKER_BUILDKIT=0 docker build -q -t "$1" "$work/stand-in" >/dev/null
}

# They have the users, the variables and the directories of the images that they are named after.
stand_ins() {
	mkdir -p "$work/stand-in"
	cp "$containers/bin/mailpit" "$work/stand-in/"
	cat >"$work/stand-in/postgres.sh" <<-'SH'
		#!/bin/bash
		# What the image of Postgres does at its first start, as far as compositions rely on it.
		set -eu
		if [ "$(id -u)" = 0 ]; then
			chown postgres "$PGDATA" /run/postgresql
			exec setpriv --reuid postgres --regid postgres --clear-groups "$0" "$@"
		fi
		user=${POSTGRES_USER:-postgres} database=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
		if [ ! -s "$PGDATA/PG_VERSION" ]; then
			password=${POSTGRES_PASSWORD:-$([ -z "${POSTGRES_PASSWORD_FILE:-}" ] || cat "$POSTGRES_PASSWORD_FILE")}
			method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
			[ -n "$password" ] || [ "$method" = trust ] || { echo "POSTGRES_PASSWORD is needed" >&2; exit 1; }
			printf '%s\n' "$password" >/tmp/password
			# shellcheck disable=SC2086 # they are several
			initdb -D "$PGDATA" -U "$user" $([ -z "$password" ] || echo --pwfile=/tmp/password) ${POSTGRES_INITDB_ARGS:-} >/dev/null
			rm /tmp/password
			echo "host all all all $method" >>"$PGDATA/pg_hba.conf"
			pg_ctl -D "$PGDATA" -o "-c listen_addresses=" -w start >/dev/null
			[ "$database" = postgres ] || createdb -U "$user" "$database"
			for script in /docker-entrypoint-initdb.d/*; do
				case $script in
					*.sh) if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
				esac
			done
			pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
		fi
		exec postgres -D "$PGDATA" -c listen_addresses='*' "$@"
	SH
	cat >"$work/stand-in/redis.sh" <<-'SH'
		#!/bin/bash
		set -eu
		[ "$(id -u)" != 0 ] || { chown redis /data; exec setpriv --reuid redis --regid redis --clear-groups "$0" "$@"; }
		[ "$1" = redis-server ] || exec "$@"
		shift
		exec redis-server --protected-mode no "$@"
	SH
	chmod 755 "$work"/stand-in/*.sh
	stand_in postgres:15-bookworm <<-'DOCKERFILE'
		FROM debian:bookworm
		RUN groupmod -g 999 postgres && usermod -u 999 postgres \
		 && rm -rf /var/lib/postgresql/* /run/postgresql && mkdir -p /run/postgresql /var/lib/postgresql/data /docker-entrypoint-initdb.d \
		 && chown -R 999:999 /run/postgresql /var/lib/postgresql && chmod 1777 /var/lib/postgresql/data
		COPY postgres.sh /usr/local/bin/docker-entrypoint.sh
		ENV PGDATA=/var/lib/postgresql/data PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
		VOLUME /var/lib/postgresql/data
		STOPSIGNAL SIGINT
		EXPOSE 5432
		ENTRYPOINT ["docker-entrypoint.sh"]
	DOCKERFILE
	stand_in redis:7-bookworm <<-'DOCKERFILE'
		FROM debian:bookworm
		RUN groupmod -g 999 redis && usermod -u 999 redis && mkdir -p /data && chown 999:999 /data
		COPY redis.sh /usr/local/bin/docker-entrypoint.sh
		WORKDIR /data
		VOLUME /data
		EXPOSE 6379
		ENTRYPOINT ["docker-entrypoint.sh"]
		CMD ["redis-server"]
	DOCKERFILE
	stand_in prom/prometheus:v2.53.4 <<-'DOCKERFILE'
		FROM debian:bookworm
		RUN mkdir -p /prometheus && chown nobody:nogroup /prometheus
		USER nobody
		VOLUME /prometheus
		ENTRYPOINT ["/usr/bin/prometheus"]
		CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
	DOCKERFILE
	stand_in axllent/mailpit:v1.27.11 <<-'DOCKERFILE'
		FROM debian:bookworm
		COPY mailpit /mailpit
		ENTRYPOINT ["/mailpit"]
	DOCKERFILE
}

# mails DIRECTORY: copies what Mailpit has into files, until it is killed.
mails() {
	local id
	mkdir -p "$1"
	while :; do
		for id in $(curl -fsS -m 5 http://127.0.0.1:8025/api/v1/messages 2>/dev/null | jq -r '.messages[].ID'); do
			[ -e "$1/$id.eml" ] || { curl -fsS -m 5 "http://127.0.0.1:8025/api/v1/message/$id/raw" >"$1/.part" && mv "$1/.part" "$1/$id.eml"; }
		done
		sleep 0.3
	done
}

healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$(compose ps -q "$1")")" = healthy ]; }
answers() { curl -fsS -m 5 "$1"; }
ended_with() { [ "$(docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$(compose ps -aq "$1")")" = "exited $2" ]; }

# Development.

parses() { compose config -q; }

dev_is_built() { GOPROXY=$modules DOCKER_BUILDKIT=0 VERSION=$version REVISION=$revision CREATED=$created compose build; }

dev_comes_up() {
	local services
	mapfile -t services < <(compose config --services | grep -v '^grafana$')
	compose up -d --no-build "${services[@]}"
	eventually "the gateway is healthy" healthy gateway
	ended_with migrate 0
	answers http://127.0.0.1:8000/ready/ >"$work/ready"
	same '{"database":"ok","keys":"ok","migrations":"ok","plugins":"ok","redis":"ok"}' "$(jq -cS .checks "$work/ready")"
}

dev_walkthrough() {
	local status=0
	mails "$work/mails" &
	MAIL=$work/mails BASE=http://127.0.0.1:8000 examples/quickstart/walkthrough.sh || status=$?
	kill $!
	return $status
}

prometheus_says() { curl -fsS -m 5 --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query | jq -er '.data.result[0].value[1]'; }
scraped() { [ "$(prometheus_says "$1")" != 0 ]; }

dev_is_watched() {
	eventually "Prometheus reads the gateway's metrics" scraped 'up{job="shield"} == 1'
	eventually "it has counted" scraped 'sum(materi_shield_requests_total)'
	[ "$(answers http://127.0.0.1:9090/api/v1/rules | jq '[.data.groups[].rules[]] | length')" -gt 0 ] || say "there are no rules"
	same '' "$(answers http://127.0.0.1:9090/api/v1/rules | jq -r '.data.groups[].rules[].lastError // empty')"
}

# reaches NETWORK HOST PORT: whether a container on that network can open a connection.
reaches() { docker run --rm --network "${project}_$1" debian:bookworm timeout 5 bash -c "exec 3<>/dev/tcp/$2/$3" 2>/dev/null; }

# address SERVICE NETWORK
address() { docker inspect "$(compose ps -q "$1")" | jq -r --arg network "${project}_$2" '.[0].NetworkSettings.Networks[$network].IPAddress'; }

dev_keeps_its_database_inside() {
	reaches inside db 5432 || say "the database is nowhere"
	! reaches outside db 5432 || say "the database by its name"
	! reaches outside "$(address db inside)" 5432 || say "the database by its address"
	! reaches outside "$(address redis inside)" 6379 || say "Redis by its address"
}

# Secure.

# digest IMAGE: pushes it into the registry, and prints the digest.
digest() {
	docker tag "$1" "$registry/checks:$2"
	docker push -q "$registry/checks:$2" >/dev/null
	docker image inspect "$registry/checks:$2" | jq -r '.[0].RepoDigests[0]' | sed 's/.*@sha256://'
}

start_registry() {
	printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\nlog: {level: error}\n' "$work/registry" "$registry" >"$work/registry.yml"
	docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
	eventually "the registry answers" answers "http://$registry/v2/"
}

environment() {
	local name
	echo of-the-mail-server | deploy/compose/secrets.sh "$secrets"
	for name in SHIELD:shield:dev API:shield-upstream:dev POSTGRES:postgres:15-bookworm REDIS:redis:7-bookworm; do
		printf '%s_IMAGE=%s\n' "${name%%:*}" "$registry/checks:${name%%:*}"
		printf '%s_SHA256=%s\n' "${name%%:*}" "$(digest "${name#*:}" "${name%%:*}")"
	done
	cat <<-ENV
		SHIELD_SECRETS=$secrets
		SHIELD_PUBLIC_URL=https://api.example.com
		SHIELD_HOST=api.example.com
		API_PORT=8001
		SMTP_HOST=smtp.example.com
		SMTP_USERNAME=shield
		MAIL_FROM=Example <no-reply@example.com>
	ENV
}

secure_refuses_to_guess() {
	local name
	for name in $(grep -o '{[A-Z0-9_]*:?' docker-compose.secure.yml | tr -d '{:?' | sort -u); do
		grep -v "^$name=" "$work/env" >"$work/without.env"
		! "$containers/bin/docker-compose" --env-file "$work/without.env" -f docker-compose.secure.yml config -q 2>"$work/said" || say "does without $name"
		grep -q "$name" "$work/said" || say "does not ask for $name: $(cat "$work/said")"
	done
	sed 's/^POSTGRES_SHA256=.*/POSTGRES_SHA256=latest/' "$work/env" >"$work/loose.env"
	! "$containers/bin/docker-compose" --env-file "$work/loose.env" -f docker-compose.secure.yml pull db || say "takes an image without a digest"
}

# A mail server as there would be one outside, with STARTTLS and a password.
mail_server() {
	certificate known smtp.example.com
	echo shield:of-the-mail-server >"$work/users"
	chmod 644 "$work/smtp.example.com.key" "$work/users" # a stand-in's
	cat >"$work/outside.yml" <<-YAML
		services:
		  smtp:
		    image: axllent/mailpit:v1.27.11
		    environment:
		      MP_SMTP_BIND_ADDR: 0.0.0.0:587
		      MP_SMTP_TLS_CERT: /tls/smtp.example.com.crt
		      MP_SMTP_TLS_KEY: /tls/smtp.example.com.key
		      MP_SMTP_REQUIRE_STARTTLS: "true"
		      MP_SMTP_AUTH_FILE: /users
		      MP_UI_BIND_ADDR: 0.0.0.0:8025
		    ports: [127.0.0.1:8025:8025]
		    volumes: ["$work/users:/users:ro", "$work/smtp.example.com.crt:/tls/smtp.example.com.crt:ro", "$work/smtp.example.com.key:/tls/smtp.example.com.key:ro"]
		    networks: {outside: {aliases: [smtp.example.com]}}
	YAML
}

secure_comes_up() {
	compose up -d
	eventually "the gateway is healthy" healthy gateway
	ended_with migrate 0
	answers http://127.0.0.1:9000/ready/ >"$work/ready"
	same '{"database":"ok","keys":"ok","migrations":"ok","plugins":"ok","redis":"ok"}' "$(jq -cS .checks "$work/ready")"
}

# api STATUS METHOD PATH [CURL OPTION...]: as the machine's proxy would send it.
api() {
	local want=$1 method=$2 path=$3 got
	shift 3
	got=$(curl -sS -m 20 -X "$method" -o "$work/body" -w '%{http_code}' -H 'Host: api.example.com' -H 'X-Forwarded-Proto: https' \
		-H 'Content-Type: application/json' "$@" "http://127.0.0.1:8000$path")
	[ "$got" = "$want" ] || say "$method $path: $got, want $want: $(cat "$work/body")"
}

password='a long good passphrase'
secure_login() {
	local link access refresh
	mails "$work/mails" &
	reader=$!
	trap 'kill $reader' EXIT
	api 202 POST /auth/register -d "{\"email\":\"ann@example.com\",\"password\":\"$password\",\"name\":\"Ann\"}"
	eventually "a mail" grep -rl ann@example.com "$work/mails"
	link=$(sed ':a;N;$!ba;s/=\r*\n//g' "$work"/mails/*.eml | grep -o 'https://api.example.com/auth/verify/[A-Za-z0-9_-]*' | head -n 1)
	api 200 GET "${link#https://api.example.com}"
	api 200 POST /auth/login -d "{\"email\":\"ann@example.com\",\"password\":\"$password\"}"
	refresh=$(jq -r .refresh_token "$work/body")
	api 200 POST /auth/refresh -d "{\"refresh_token\":\"$refresh\"}"
	access=$(jq -r .access_token "$work/body")
	jq -r .refresh_token "$work/body" >"$work/refresh"
	api 200 GET /api/users/me -H "Authorization: Bearer $access"
	same ann@example.com "$(jq -r '.. | .email? // empty' "$work/body")"
	api 200 GET /api/notes -H "Authorization: Bearer $access"
	same ann@example.com "$(jq -r '.headers["X-User-Email"]' "$work/body")"
	api 401 GET /api/notes
	api 404 GET /metrics/
}

secure_shares_limits_in_redis() {
	local redis
	redis=$(compose ps -q redis)
	same 'materi_ratelimit_degraded 0' "$(answers http://127.0.0.1:9000/metrics/ | grep '^materi_ratelimit_degraded')"
	[ "$(docker exec "$redis" redis-cli --user shield --pass "$(sed 's/.*shield:\(.*\)@.*/\1/' "$secrets/redis_url")" --no-auth-warning --scan --pattern 'shield:*' | wc -l)" -gt 0 ] || say "there are no keys"
	# Whoever has no password may do nothing, and the probe and the gateway not more than they need.
	docker exec "$redis" redis-cli ping | grep -q NOAUTH || say "anybody may ask"
	docker exec "$redis" redis-cli --user probe --pass '' --no-auth-warning keys '*' | grep -q NOPERM || say "the probe may read"
	docker exec "$redis" redis-cli --user shield --pass "$(sed 's/.*shield:\(.*\)@.*/\1/' "$secrets/redis_url")" --no-auth-warning config get '*' | grep -q NOPERM || say "the gateway may configure"
}

secure_role_is_no_superuser() {
	local db
	db=$(compose ps -q db)
	same 'f|f|f' "$(docker exec "$db" psql -U postgres -Atc "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'shield'")"
	! docker exec "$db" psql -h 127.0.0.1 -U postgres -w -c 'SELECT 1' || say "no password is asked for"
}

running() { compose ps -q gateway db redis api; }

secure_settings_are_in_force() {
	local id pid name odd
	for id in $(running); do
		name=$(docker inspect -f '{{index .Config.Labels "com.docker.compose.service"}}' "$id")
		echo "   $name"
		odd=$(docker inspect "$id" | jq -c '.[0] | [
			(.HostConfig | .ReadonlyRootfs, .CapDrop == ["ALL"], (.CapAdd // []) == [], .SecurityOpt == ["no-new-privileges:true"],
				.Privileged == false, .Memory > 0, .NanoCpus > 0, .PidsLimit > 0, (.Tmpfs | length > 0)),
			(.Config.User | test("^[1-9]")), (.Config.Image | test("@sha256:[0-9a-f]{64}$"))
		] | map(select(. != true))')
		same '[]' "$odd"
		# And the kernel agrees.
		pid=$(docker inspect -f '{{.State.Pid}}' "$id")
		same "$(printf '%s\n' 'CapBnd: 0000000000000000' 'CapEff: 0000000000000000' 'CapPrm: 0000000000000000' 'NoNewPrivs: 1' 'Seccomp: 2')" \
			"$(grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp):' "/proc/$pid/status" | tr '\t' ' ' | sort)"
		grep -q ' / / ro[, ]' "/proc/$pid/mountinfo" || say "the root file system of $name is writable"
		limited "$pid" || say "$name has no limit of memory"
		# What is mounted into it leaves an empty place behind.
		odd=$(docker diff "$id" | grep -vE '^[AC] /(tmp|run|run/secrets|run/secrets/[a-z_]+|etc|etc/shield|etc/shield/[a-z]+.yaml|docker-entrypoint-initdb.d|docker-entrypoint-initdb.d/10-role.sh)$' || true)
		[ -z "$odd" ] || say "$name has changed its root: $odd"
	done
}

# limited PID: whether its group of processes has a limit of memory, in either version of cgroups.
limited() {
	local group
	group=$(sed -n 's/^[0-9]*:\(memory\|\):\(\/.*\)/\1 \2/p' "/proc/$1/cgroup" | sort -r | head -n 1)
	case $group in
		memory*) [ "$(cat "/sys/fs/cgroup/memory/${group#* }/memory.limit_in_bytes")" -lt 4000000000 ] ;;
		*) [ "$(cat "/sys/fs/cgroup/${group# }/memory.max")" != max ] ;;
	esac
}

secure_networks() {
	local from to port want service
	while read -r from to port want; do
		service=${to%%:*}
		if reaches "$from" "$(address "$service" "${to#*:}")" "$port"; then same "$want" yes; else same "$want" no; fi || say "from $from to $to:$port"
	done <<-MATRIX
		outside gateway:outside 8000 yes
		outside db:database 5432 no
		outside redis:cache 6379 no
		outside api:services 8001 no
		services api:services 8001 yes
		services db:database 5432 no
		services redis:cache 6379 no
		cache redis:cache 6379 yes
		cache db:database 5432 no
		database db:database 5432 yes
		database redis:cache 6379 no
		database api:services 8001 no
	MATRIX
	! reaches outside redis 6379 || say "Redis by its name"
}

# The rest of the world: a host behind this one.
world=203.0.113.2
the_world() {
	ip netns add world
	ip link add to-world type veth peer name world netns world
	ip address add 203.0.113.1/24 dev to-world
	ip link set to-world up
	ip -n world address add "$world/24" dev world
	ip -n world link set world up
	ip netns exec world "$containers/bin/peer" serve -listen "$world:80" "$work" &
	eventually "the world answers" answers "http://$world/"
}

secure_leads_nowhere() {
	the_world
	reaches outside "$world" 80 || say "the gateway cannot reach anybody"
	for network in database cache services; do
		! reaches "$network" "$world" 80 || say "from $network"
	done
}

secure_publishes_the_gateway_alone() {
	same '127.0.0.1:8000->8000/tcp 127.0.0.1:9000->9000/tcp' "$(running | xargs /usr/bin/docker inspect |
		jq -r '.[] | (.HostConfig.PortBindings // {}) | to_entries[] | .key as $to | .value[] | "\(.HostIp):\(.HostPort)->\($to)"' | sort | paste -sd ' ')"
}

secure_tells_no_secret() {
	local name
	{
		compose config
		compose ps -aq | xargs /usr/bin/docker inspect
		compose logs --no-color
		docker history --no-trunc shield:dev
	} >"$work/told" 2>&1
	for name in "$secrets"/*; do
		case $name in
			*/redis_users) ! grep -qF "$(grep -o '>[0-9a-f]*' "$name" | tr -d '>')" "$work/told" ;;
			*) ! grep -qF "$(cat "$name")" "$work/told" ;;
		esac || say "${name##*/} is told"
	done
	! grep -qF "$password" "$work/told" || say "somebody's password is told"
}

secure_goes_on_after_a_stop() {
	local refresh
	compose stop
	ended_with gateway 0
	compose down
	compose up -d
	eventually "the gateway is healthy" healthy gateway
	refresh=$(cat "$work/refresh")
	api 200 POST /auth/refresh -d "{\"refresh_token\":\"$refresh\"}"
	api 200 GET /api/users/me -H "Authorization: Bearer $(jq -r .access_token "$work/body")"
}

logs() { compose logs --no-color --tail 30 >&2 || true; }

stand_ins

project=dev file=docker-compose.yml
check $file 'docker compose config' parses
check $file 'docker compose build' dev_is_built
check $file 'up: everything healthy, the schema migrated' dev_comes_up
check $file 'the walkthrough, its mails by Mailpit' dev_walkthrough
check $file 'Prometheus reads metrics and rules' dev_is_watched
check $file 'database and Redis cannot be reached from outside' dev_keeps_its_database_inside
result $file 'Grafana shows the dashboard' 'not run: Grafana is neither a Debian package nor a Go module'
[ "$failed" = 0 ] || logs
compose down -v --remove-orphans

project=secure file=docker-compose.secure.yml
start_registry
environment >"$work/env"
mail_server
check $file 'every required variable is asked for, and a digest' secure_refuses_to_guess
more=(-f "$work/outside.yml" --env-file "$work/env")
check $file 'docker compose config' parses
check $file 'up: images by digest, everything healthy, the schema migrated' secure_comes_up
check $file 'a login through it, its mail by STARTTLS' secure_login
check $file 'limits are shared in Redis, whose users may do what they need' secure_shares_limits_in_redis
check $file 'the gateway is no superuser of Postgres' secure_role_is_no_superuser
check $file 'read-only, no capability, limits: docker inspect and the kernel' secure_settings_are_in_force
check $file 'who reaches whom: twelve ways' secure_networks
check $file 'only the gateway reaches anybody outside' secure_leads_nowhere
check $file 'the gateway alone is published, on loopback' secure_publishes_the_gateway_alone
check $file 'no secret in docker inspect, history, logs and config' secure_tells_no_secret
check $file 'stopped and started: sessions go on' secure_goes_on_after_a_stop
[ "$failed" = 0 ] || logs
