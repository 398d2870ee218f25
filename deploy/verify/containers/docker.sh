# A Docker of one's own for the checks of images and compositions, as functions for bash. The
# daemon, its networks, its containers and everything else that a check starts live in
# namespaces that end with the script, so neither the machine's own Docker nor its firewall or
# ports are touched, and nothing outlives the check. There is no way out of that network: what
# is built is built from the modules that this machine has.
#
# Images of registries cannot be had there, either. What stands in for them is made of Debian
# by debootstrap and named like them.
#
# Debian's packages, the file system and the layers are kept in SHIELD_CONTAINERS
# (~/.cache/shield-containers), about 3 GB; remove it to begin anew. It needs root and Debian 12.
# shellcheck shell=bash

# What results go to; everything else that is printed goes to standard error.
[ -n "${SHIELD_ALONE:-}" ] || exec 3>&1 1>&2

containers=${SHIELD_CONTAINERS:-${XDG_CACHE_HOME:-$HOME/.cache}/shield-containers}
bridge=172.29.0.1 # this script, for containers
modules=http://$bridge:3000
work=
failed=0

# result ARTEFACT CHECK RESULT: one line of the table. After a FAIL the script goes on.
result() {
	printf '%s\t%s\t%s\n' "$1" "$2" "$3" >&3
	[ "${3%%:*}" != FAIL ] || failed=1
}

# check ARTEFACT CHECK COMMAND...: the result of a command, which is a function mostly. It runs
# in a shell of its own and ends at its first failure.
check() {
	local artefact=$1 what=$2 status=0
	shift 2
	echo "-- $what" >&2
	set +e
	(set -e; "$@")
	status=$?
	set -e
	if [ "$status" = 0 ]; then result "$artefact" "$what" ok; else result "$artefact" "$what" FAIL; fi
	return 0
}

# say MESSAGE: why a check fails.
say() {
	echo "   $*" >&2
	return 1
}

# same WANT GOT: fails with the difference.
same() { diff <(printf '%s\n' "$1") <(printf '%s\n' "$2") >&2 || say "the first is wanted, the second is there"; }

# eventually WHAT COMMAND...: tries for two minutes.
eventually() {
	local what=$1 until=$((SECONDS + 120))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$until" ] || { say "$what: not within two minutes"; return 1; }
		sleep 0.2
	done
}

# not_run ARTEFACT CHECK WHY: ends the script, which has failed.
not_run() {
	result "$1" "$2" "not run: $3"
	exit 1
}

# tool NAME MODULE@VERSION PACKAGE: builds a program of another module, once.
tool() {
	local module=$containers/$1-${2##*@}
	[ ! -x "$containers/bin/$1" ] || [ ! -e "$module/built" ] || return 0
	echo "building $1, some minutes" >&2
	rm -rf "$module"
	mkdir -p "$module" "$containers/bin"
	(
		export GOFLAGS='-mod=mod -buildvcs=false' CGO_ENABLED=0
		cd "$module" && go mod init tool && go get "$2" &&
			go build -trimpath -ldflags '-s -w' -o "$containers/bin/$1" "${2%@*}${3:+/$3}" && touch built
	) >"$containers/$1.log" 2>&1 || { tail -n 5 "$containers/$1.log" >&2; return 1; }
}

# packages ARTEFACT NAME...: installs Debian packages, without starting what they hold.
packages() {
	local artefact=$1 name missing=() policy=/usr/sbin/policy-rc.d
	shift
	for name in "$@"; do
		dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null | grep -q '^ii' || missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	echo "installing ${missing[*]}" >&2
	[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
	{ apt-get -o DPkg::Lock::Timeout=600 update -qq || true; } >&2
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "${missing[@]}" >"$containers/apt.log" 2>&1 || {
		tail -n 5 "$containers/apt.log" >&2
		not_run "$artefact" "every check" "apt-get install ${missing[*]} fails"
	}
	[ "$(trap -p EXIT)" = "" ] || { rm -f "$policy"; trap - EXIT; }
}

# root_file_system: Debian with what the stand-ins need, made in memory, which is ten times as
# fast as on a disk that every package waits for.
root_file_system() {
	local tar=$containers/debian.tar
	[ ! -s "$tar" ] || return 0
	echo "making Debian's root file system, some minutes" >&2
	# shellcheck disable=SC2016 # it is the inner shell's
	unshare --mount bash -euc '
		mount -t tmpfs -o size=4g tmpfs /mnt
		mirror=$(sed -n "s/^URIs: *//p; s/^deb \(\[[^]]*\] \)\?\(http[^ ]*\) .*/\2/p" /etc/apt/sources.list /etc/apt/sources.list.d/debian* 2>/dev/null | head -n 1)
		debootstrap --variant=minbase --include=ca-certificates,curl,postgresql-15,redis-server,prometheus bookworm /mnt/root "${mirror:-http://deb.debian.org/debian}" >"$1.log" 2>&1
		rm -rf /mnt/root/var/cache/apt/archives/*.deb /mnt/root/var/lib/apt/lists/*
		tar -C /mnt/root --exclude="./proc/*" --exclude="./sys/*" --exclude="./dev/*" -cf "$1.part" .
		mv "$1.part" "$1"
	' bash "$tar" || { tail -n 5 "$tar.log" >&2; return 1; }
}

# authority NAME: a certificate authority in the cache, for servers that the checks start.
authority() {
	local dir=$containers/$1
	[ ! -s "$dir/ca.crt" ] || return 0
	mkdir -p "$dir"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj "/CN=$1 of Shield's checks" \
		-keyout "$dir/ca.key" -out "$dir/ca.crt" 2>/dev/null
}

# certificate AUTHORITY HOST...: makes HOST.crt and HOST.key in the directory of this run,
# named for the first host.
certificate() {
	local authority=$containers/$1 name=$2 host hosts=()
	shift
	for host in "$@"; do
		if [[ $host =~ ^[0-9.]+$ ]]; then hosts+=("IP:$host"); else hosts+=("DNS:$host"); fi
	done
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "/CN=$name" -keyout "$work/$name.key" -out "$work/$name.csr" 2>/dev/null
	openssl x509 -req -in "$work/$name.csr" -CA "$authority/ca.crt" -CAkey "$authority/ca.key" -days 30 -out "$work/$name.crt" \
		-extfile <(IFS=,; echo "subjectAltName=${hosts[*]}") 2>/dev/null
}

# alone ARTEFACT SCRIPT ARGUMENT...: prepares what needs the network, with the function prepare
# of the script where it has one, and then runs the script again where there is none. It returns there, with docker at hand and $work to write to.
alone() {
	local artefact=$1
	shift
	if [ -z "${SHIELD_ALONE:-}" ]; then
		[ "$(id -u)" = 0 ] || not_run "$artefact" "every check" "a private Docker needs root"
		command -v apt-get >/dev/null || not_run "$artefact" "every check" "needs Debian, for docker.io and debootstrap"
		mkdir -p "$containers"
		exec 8>"$containers/lock"
		flock 8 # the next one waits; the lock ends with the last process of the namespaces
		packages "$artefact" docker.io iptables debootstrap openssl curl jq iproute2
		root_file_system || not_run "$artefact" "every check" "debootstrap fails"
		authority known
		authority unknown
		go mod download
		mkdir -p "$containers/bin"
		CGO_ENABLED=0 go build -trimpath -o "$containers/bin/" ./deploy/verify/containers/peer ./examples/quickstart/upstream
		[ "$(type -t prepare)" != function ] || prepare
		SHIELD_ALONE=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc bash "$@"
	fi
	work=$(mktemp -d)
	chmod 755 "$work"
	trap leave EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	ip link set lo up
	start_docker "$artefact"
	sweep # of a run that was killed
	# Modules from the cache of this machine.
	"$containers/bin/peer" serve -listen "$bridge:3000" "$(go env GOMODCACHE)/cache/download" &
	debian_images
}

# sweep leaves images of today, which save the next run some minutes, and nothing else.
sweep() {
	{
		docker ps -aq | xargs -r /usr/bin/docker rm -fv
		docker volume ls -q | xargs -r /usr/bin/docker volume rm -f
		docker network prune -f
		docker image prune -f --filter until=24h
		docker builder prune -f --filter until=24h
	} >/dev/null 2>&1 || true
}

leave() {
	local status=$?
	trap - EXIT INT TERM
	sweep
	rm -rf "$work"
	[ "$status" != 0 ] || status=$failed
	exit "$status" # and the namespaces end, with all that runs in them
}

start_docker() {
	local i
	export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/docker-config
	mkdir -p "$DOCKER_CONFIG"
	/usr/sbin/dockerd --data-root "$containers/docker" --exec-root "$work/docker-run" --pidfile "$work/docker.pid" \
		-H "$DOCKER_HOST" --bip "$bridge/24" >"$work/docker.log" 2>&1 &
	for ((i = 0; i < 300; i++)); do
		docker info >/dev/null 2>&1 && return
		kill -0 $! 2>/dev/null || break
		sleep 0.2
	done
	tail -n 20 "$work/docker.log" >&2
	not_run "$1" "every check" "dockerd does not start: $(tail -n 1 "$work/docker.log" | tr '\t' ' ')"
}

# docker: the client of the daemon's package, which speaks to both of its builders by itself.
docker() { /usr/bin/docker "$@"; }

# debian_images makes the stand-ins that are not there yet: debian, and a builder that has this
# machine's Go and trusts an authority of the checks beside Debian's.
debian_images() {
	local go context=$work/golang
	go=$(go env GOVERSION)
	if ! docker image inspect debian:bookworm >/dev/null 2>&1; then
		docker import -c 'CMD ["bash"]' "$containers/debian.tar" debian:bookworm >/dev/null
	fi
	[ "$(docker image inspect -f '{{index .Config.Labels "go"}}' golang:1.26-bookworm 2>/dev/null)" != "$go" ] || return 0
	echo "making a builder with $go" >&2
	mkdir "$context"
	cp -a "$(go env GOROOT)" "$context/go"
	cp "$containers/known/ca.crt" "$context/known.crt"
	cat >"$context/Dockerfile" <<-DOCKERFILE
		FROM debian:bookworm
		COPY go /usr/local/go
		COPY known.crt /usr/local/share/ca-certificates/known.crt
		RUN update-ca-certificates >/dev/null 2>&1
		ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPATH=/go
		LABEL go=$go
	DOCKERFILE
	DOCKER_BUILDKIT=0 docker build -q -t golang:1.26-bookworm "$context" >/dev/null
	rm -rf "$context"
}

# build_image TAG [FLAG...]: the image of this checkout, by the builder that DOCKER_BUILDKIT
# names: 0 is the classic one.
build_image() {
	local tag=$1
	shift
	docker build -q -t "$tag" --build-arg GOPROXY="$modules" --build-arg VERSION="$version" \
		--build-arg REVISION="$revision" --build-arg CREATED="$created" "$@" .
}

version=${VERSION:-$(git describe --tags --always 2>/dev/null || echo dev)}
revision=${REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
created=${CREATED:-$(git log -1 --format=%cI 2>/dev/null || echo 1970-01-01T00:00:00Z)}
