#!/usr/bin/env bash
# Builds the image of the Dockerfile by both of Docker's builders, looks into it, and runs it as
# it should be run. A Docker of its own is started for that (containers/docker.sh), which
# needs root and Debian. Each line of standard output is artefact, check, result, with tabs
# between.
#   deploy/verify/image.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/verify/containers/docker.sh
alone Dockerfile "$0" "$@"

largest=60000000 # bytes
plugins=(email oauth saml)
hardened=(--read-only --user 1000 --cap-drop=ALL --security-opt no-new-privileges --tmpfs /tmp)
base=http://127.0.0.1:8000

# What is there, and that it was built from what it should be.

built_by_the_classic_builder() { DOCKER_BUILDKIT=0 build_image shield:check; }

# On a base of our own, which has compiled all of it before.
built_by_buildkit() {
	DOCKER_BUILDKIT=0 build_image compiled:check --target build
	DOCKER_BUILDKIT=1 build_image shield:buildkit --build-arg BUILDER=compiled:check
}

# layers IMAGE DIRECTORY: every file of the layers, with its mode, owner, path, size and date. What
# is put into a directory changes that one's date, so those are left out.
layers() {
	local layer
	mkdir -p "$2"
	docker save "$1" | tar -x -C "$2"
	for layer in $(jq -r '.[0].Layers[]' "$2/manifest.json"); do
		TZ=UTC tar --numeric-owner --full-time -tvf "$2/$layer" | awk '{ print $1, $2, $6, $1 ~ /^d/ ? "" : $3 " " $4 "T" $5 }'
		mkdir -p "$2/files"
		tar -x -C "$2/files" -f "$2/$layer"
	done | sort -u -k 3 >"$2/list"
	(cd "$2/files" && find . -type f -exec sha256sum {} + | sort -k 2) >"$2/sums"
}

one_image_whoever_builds_it() {
	layers shield:check "$work/classic"
	layers shield:buildkit "$work/buildkit"
	diff "$work/classic/list" "$work/buildkit/list" && diff "$work/classic/sums" "$work/buildkit/sums"
}

# The flags are those of the Dockerfile; the directory, the environment and the cache are others.
one_program_wherever_it_is_built() {
	local out=$work/elsewhere plugin flags=(-trimpath -buildvcs=false)
	CGO_ENABLED=0 go build "${flags[@]}" -tags timetzdata -ldflags "-s -w -buildid= -X main.version=$version" -o "$out/usr/bin/shield" ./cmd/shield
	for plugin in "${plugins[@]}"; do
		GOOS=wasip1 GOARCH=wasm go build "${flags[@]}" -ldflags '-s -w -buildid=' -buildmode=c-shared \
			-o "$out/usr/lib/shield/plugins/$plugin.wasm" "./plugins/$plugin/cmd"
	done
	(cd "$out" && find . -type f -exec sha256sum {} +) >"$work/elsewhere.sums"
	(cd "$work/classic/files" && sha256sum --check --strict "$work/elsewhere.sums")
}

small() {
	local size
	size=$(docker image inspect -f '{{.Size}}' shield:check)
	echo "   $size bytes"
	[ "$size" -le "$largest" ] || say "more than $largest"
}

labels_say_what_it_is() {
	local want
	want=$(jq -nS --arg version "$version" --arg revision "$revision" --arg created "$created" '{
		title: "Shield", description: "An identity gateway", source: "https://github.com/materi/shield",
		licenses: "Apache-2.0", version: $version, revision: $revision, created: $created
	} | with_entries(.key |= "org.opencontainers.image." + .)')
	same "$want" "$(docker image inspect shield:check | jq -S '.[0].Config.Labels')"
	same "shield $version" "$(docker run --rm shield:check version)"
}

settings() {
	local want
	want='{"User":"1000:1000","Entrypoint":["/usr/bin/shield"],"Cmd":["serve"],"Volumes":{"/var/lib/shield":{}},"ExposedPorts":{"8000/tcp":{}},"StopSignal":"SIGTERM","health":["CMD","/usr/bin/shield","health"]}'
	same "$want" "$(docker image inspect shield:check |
		jq -c '.[0].Config | {User, Entrypoint, Cmd, Volumes, ExposedPorts, StopSignal, health: .Healthcheck.Test}')"
}

# Mode, owner and path of everything. Who is not 1000 may write to /tmp alone, which is sticky;
# nothing is setuid or setgid, and there is no other program.
these_files_and_no_others() {
	local want
	want=$(cat <<-FILES
		drwx------ 1000/1000 var/lib/shield/
		drwxrwxrwt 0/0 tmp/
		dr-xr-xr-x 0/0 etc/
		dr-xr-xr-x 0/0 etc/shield/
		dr-xr-xr-x 0/0 etc/ssl/
		dr-xr-xr-x 0/0 etc/ssl/certs/
		dr-xr-xr-x 0/0 usr/
		dr-xr-xr-x 0/0 usr/bin/
		dr-xr-xr-x 0/0 usr/lib/
		dr-xr-xr-x 0/0 usr/lib/shield/
		dr-xr-xr-x 0/0 usr/lib/shield/plugins/
		dr-xr-xr-x 0/0 usr/share/
		dr-xr-xr-x 0/0 usr/share/doc/
		dr-xr-xr-x 0/0 usr/share/doc/shield/
		dr-xr-xr-x 0/0 var/
		dr-xr-xr-x 0/0 var/lib/
		-r--r--r-- 0/0 etc/group
		-r--r--r-- 0/0 etc/passwd
		-r--r--r-- 0/0 etc/ssl/certs/ca-certificates.crt
		-r--r--r-- 0/0 usr/lib/shield/plugins/email.wasm
		-r--r--r-- 0/0 usr/lib/shield/plugins/oauth.wasm
		-r--r--r-- 0/0 usr/lib/shield/plugins/saml.wasm
		-r--r--r-- 0/0 usr/share/doc/shield/LICENSE
		-r--r--r-- 0/0 usr/share/doc/shield/NOTICE
		-r-xr-xr-x 0/0 usr/bin/shield
	FILES
	)
	same "$(sort <<<"$want")" "$(cut -d ' ' -f 1-3 "$work/classic/list" | sort)"
}

# What Docker itself puts into a container's root are empty files.
as_a_container_has_it() {
	local id odd
	id=$(docker create shield:check)
	mkdir "$work/export"
	docker export "$id" | tar -x -C "$work/export"
	docker rm -fv "$id" >/dev/null
	odd=$(find "$work/export" \( -perm /6000 -o -perm -0002 ! -type l ! -path "$work/export/tmp" -o -iname '*sh' \) -printf '%M %P\n')
	[ -z "$odd" ] || say "$odd"
	same '1777' "$(stat -c %a "$work/export/tmp")"
	same usr/bin/shield "$(find "$work/export" -type f -perm /0111 -size +0 -printf '%P\n')"
}

dated_by_the_commit() {
	local want
	want=$(TZ=UTC date -d "$created" +%Y-%m-%dT%H:%M:%S)
	same "$want" "$(awk '{ print $5 }' "$work/classic/list" | sort -u | grep .)"
}

# Neither the history nor the layers may tell where modules came from or what lies about.
no_secret_in_the_history() {
	local history
	history=$(docker history --no-trunc --format '{{.CreatedBy}}' shield:check)
	! grep -iE "$modules|GOPROXY|password|secret|token" <<<"$history" || say "in the history"
	! grep -rlF "$modules" "$work/classic" || say "in a layer"
}

context_is_what_is_built() {
	local context=$work/context file odd
	mkdir "$context"
	git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$context"
	for file in .env .env.local .git/config data/secret_key build/shield node_modules/x/index.js secrets/database_url \
		cmd/.env gateway/server.key plugins/saml/sp.pem sdk/node_modules/x.js docker-compose.override.yml; do
		mkdir -p "$context/$(dirname "$file")"
		echo canary >"$context/$file"
	done
	printf 'FROM debian:bookworm\nCOPY . /context\n' >"$work/context.Dockerfile"
	DOCKER_BUILDKIT=0 docker build -q -t context:check -f "$work/context.Dockerfile" "$context"
	docker run --rm context:check sh -c 'cd /context && find . -type f -exec grep -l "^canary$" {} + ; find . -type f -printf "%s\n" | awk "{ s += \$1 } END { print \"bytes:\", s }"' >"$work/context.list"
	cat "$work/context.list"
	! grep -v '^bytes:' "$work/context.list" || say "these went in"
	odd=$(docker run --rm context:check sh -c 'cd /context && ls -A')
	same "$(printf '%s\n' LICENSE NOTICE cmd config gateway go.mod go.sum plugins sdk)" "$odd"
}

# How it runs.

# start NAME FLAG...: a container that is run as it should be, with the quickstart's
# configuration and a volume of its own.
start() {
	local name=$1
	shift
	docker ps -aq | xargs -r /usr/bin/docker rm -fv >/dev/null # of a check that failed
	docker run -d --name "$name" "${hardened[@]}" -p 8000:8000 -v "$name:/var/lib/shield" \
		-v "$PWD/examples/quickstart/shield.yaml:/etc/shield/shield.yaml:ro" \
		-e SHIELD_LISTEN=0.0.0.0:8000 -e SHIELD_PUBLIC_URL=$base -e SHIELD_DATA=/var/lib/shield/data \
		-e SHIELD_UPSTREAM="http://$bridge:8001" --health-interval 1s --stop-timeout 60 "$@" shield:check >/dev/null
}

stop() {
	docker logs "$1" 2>&1 | tail -n 5 >&2 || true
	docker rm -fv "$1" >/dev/null
	docker volume rm -f "$1" >/dev/null
}

health() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$1")" = "$2" ]; }
answers() { curl -fsS -m 5 "$base$1"; }

a_login_through_it() {
	local mail email password='a long good passphrase' link token
	mail=$(docker volume inspect -f '{{.Mountpoint}}' gateway)/data/mail
	eventually "it is ready" answers /ready/
	BASE=$base MAIL=$mail examples/quickstart/walkthrough.sh
	# And by hand, to the end of /api/users/me.
	email=image@example.com
	curl -fsS -H 'Content-Type: application/json' -d "{\"email\":\"$email\",\"password\":\"$password\"}" $base/auth/register >/dev/null
	eventually "a mail" grep -lr "$email" "$mail"
	link=$(sed ':a;N;$!ba;s/=\r*\n//g' "$(grep -lr "$email" "$mail" | head -n 1)" | grep -o '/auth/verify/[A-Za-z0-9_-]*' | head -n 1)
	answers "$link" >/dev/null
	token=$(curl -fsS -H 'Content-Type: application/json' -d "{\"email\":\"$email\",\"password\":\"$password\"}" $base/auth/login | jq -r .refresh_token)
	token=$(curl -fsS -H 'Content-Type: application/json' -d "{\"refresh_token\":\"$token\"}" $base/auth/refresh | jq -r .access_token)
	same "$email" "$(curl -fsS -H "Authorization: Bearer $token" $base/api/users/me | jq -r '.. | .email? // empty')"
}

becomes_healthy() { eventually "healthy" health gateway healthy; }

bound_by_the_kernel() {
	local pid
	pid=$(docker inspect -f '{{.State.Pid}}' gateway)
	same "$(printf '%s\n' 'CapBnd: 0000000000000000' 'CapEff: 0000000000000000' 'Gid: 1000 1000 1000 1000' 'NoNewPrivs: 1' 'Seccomp: 2' 'Uid: 1000 1000 1000 1000')" \
		"$(grep -E '^(Uid|Gid|CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$pid/status" | tr '\t' ' ' | sort)"
}

writes_to_its_volume_alone() {
	local data odd
	# The mounted file leaves an empty place behind.
	odd=$(docker diff gateway | grep -vE '^[AC] /etc(/shield(/shield.yaml)?)?$' || true)
	[ -z "$odd" ] || say "changed in the root file system: $odd"
	data=$(docker volume inspect -f '{{.Mountpoint}}' gateway)/data
	[ -n "$(find "$data/cache" -type f)" ] || say "no compiled plugin in the volume"
	same 700 "$(stat -c %a "$data")"
	odd=$(find "$data" \( ! -uid 1000 -o -perm /0022 \) -printf '%M %u %P\n')
	[ -z "$odd" ] || say "$odd"
}

may_write_nowhere_else() {
	local run=(docker run --rm --user 1000 -v "$containers/bin/peer:/usr/bin/peer:ro" --entrypoint /usr/bin/peer)
	same "$(printf '%s\n' /tmp /var/lib/shield)" "$("${run[@]}" shield:check writable | sort)"
	same "$(printf '%s\n' /tmp /var/lib/shield)" "$("${run[@]}" "${hardened[@]}" shield:check writable | sort)"
}

# A request whose body has not ended when the signal comes is finished, while the listener is
# closed to others.
drains_and_ends_with_0() {
	local upload
	mkfifo "$work/body"
	curl -sS -v -m 60 -H 'Expect: 100-continue' -T - $base/status <"$work/body" >"$work/answer" 2>"$work/trace" &
	upload=$!
	exec 7>"$work/body"
	printf 'one ' >&7
	eventually "the request is taken" grep -q '100 Continue' "$work/trace"
	docker kill -s TERM gateway >/dev/null
	eventually "the listener closes" bash -c "! curl -s -m 2 -o /dev/null $base/health/"
	same true "$(docker inspect -f '{{.State.Running}}' gateway)"
	printf 'two' >&7
	exec 7>&-
	wait "$upload"
	same 7 "$(jq .body_bytes "$work/answer")"
	same 0 "$(timeout 60 /usr/bin/docker wait gateway)"
}

# A process that lives and does not answer is told from one that does, and one that is not there.
becomes_unhealthy() {
	start deaf --health-retries 1
	eventually "healthy" health deaf healthy
	docker kill -s STOP deaf >/dev/null
	eventually "unhealthy" health deaf unhealthy
	docker kill -s CONT deaf >/dev/null
	eventually "healthy again" health deaf healthy
	stop deaf
	ended 1 'connection refused' -v "$PWD/examples/quickstart/shield.yaml:/etc/shield/shield.yaml:ro" shield:check health
}

# ended WANT MESSAGE FLAG...: the container ends with that status and says so.
ended() {
	local want=$1 message=$2 status=0
	shift 2
	timeout 60 /usr/bin/docker run --rm "${hardened[@]}" "$@" >"$work/said" 2>&1 || status=$?
	cat "$work/said"
	same "$want" "$status"
	grep -qF -- "$message" "$work/said" || say "does not say: $message"
}

says_what_is_wrong() {
	printf 'server:\n  listne: 0.0.0.0:8000\n' >"$work/bad.yaml"
	ended 1 'server.listne: is not a key; did you mean listen?' -v "$work/bad.yaml:/etc/shield/shield.yaml:ro" shield:check
	ended 1 '/etc/shield/shield.yaml' shield:check
	ended 2 'usage: shield COMMAND' shield:check start
	ended 1 'the file that SECRET_KEY_FILE names cannot be read' -e SECRET_KEY_FILE=/nowhere -v "$PWD/examples/quickstart/shield.yaml:/etc/shield/shield.yaml:ro" shield:check config check /etc/shield/shield.yaml
}

knows_time_zones() {
	start abroad -e TZ=Asia/Tokyo
	eventually "it is ready" answers /ready/
	same '+09:00' "$(docker logs abroad 2>&1 | head -n 1 | jq -r .time | grep -o '.\{6\}$')"
	stop abroad
}

# Two upstreams by HTTPS: the builder trusts the authority of one, and nobody that of the other.
trusts_its_authorities() {
	mkdir -p "$work/site"
	echo trusted >"$work/site/status"
	answer_by_https known 8443
	start trusting -e SHIELD_UPSTREAM="https://$bridge:8443"
	eventually "it is ready" answers /ready/
	same trusted "$(answers /status)"
	stop trusting
	answer_by_https unknown 8444
	start doubting -e SHIELD_UPSTREAM="https://$bridge:8444"
	eventually "it is ready" answers /ready/
	same 502 "$(curl -s -o /dev/null -w '%{http_code}' $base/status)"
	stop doubting
}

# answer_by_https AUTHORITY PORT: until the script ends.
answer_by_https() {
	certificate "$1" "$bridge"
	mkdir "$work/$1"
	mv "$work/$bridge".* "$work/$1/"
	"$containers/bin/peer" serve -listen "$bridge:$2" -cert "$work/$1/$bridge.crt" -key "$work/$1/$bridge.key" "$work/site" &
}

check Dockerfile 'the classic builder builds it' built_by_the_classic_builder
docker image inspect shield:check >/dev/null 2>&1 || exit 1 # the rest is about what was built
check Dockerfile 'BuildKit builds it, on another base' built_by_buildkit
check Dockerfile 'both make the same files, owners, modes and dates' one_image_whoever_builds_it
check Dockerfile 'program and plugins are the bytes of go build elsewhere' one_program_wherever_it_is_built
check Dockerfile "at most $((largest / 1000000)) MB" small
check Dockerfile 'labels of OCI, and the version' labels_say_what_it_is
check Dockerfile 'user, entrypoint, volume, port, health check' settings
check Dockerfile 'these files and no others, each with its owner and mode' these_files_and_no_others
check Dockerfile 'docker export: no setuid, no shell, no other program' as_a_container_has_it
check Dockerfile 'every file has the date of the commit' dated_by_the_commit
check Dockerfile 'nothing secret in history and layers' no_secret_in_the_history
check .dockerignore 'nothing else goes in, whatever lies about' context_is_what_is_built

"$containers/bin/upstream" -listen "$bridge:8001" &
start gateway
check Dockerfile 'read-only, no capability: a login through it' a_login_through_it
check Dockerfile 'its health check says healthy' becomes_healthy
check Dockerfile 'user 1000, no capability, no new privileges, seccomp' bound_by_the_kernel
check Dockerfile 'it writes to its volume alone, also compiled plugins' writes_to_its_volume_alone
check Dockerfile 'SIGTERM: what runs is finished, and it ends with 0' drains_and_ends_with_0
stop gateway
check Dockerfile 'user 1000 may write to /tmp and the volume alone' may_write_nowhere_else
check Dockerfile 'its health check says unhealthy, and healthy again' becomes_unhealthy
check Dockerfile 'a bad configuration: 1, a bad command: 2, and why' says_what_is_wrong
check Dockerfile 'time zones' knows_time_zones
check Dockerfile 'certificate authorities of the builder, and no others' trusts_its_authorities
