#!/usr/bin/env bash
# Rehearses rollouts, and failures in between, while people use an installation: see
# deploy/rehearse/rollout. What it needs and is not there is installed, by name: Debian's
# haproxy, postgresql and redis-server, Node.js, and the OpenID provider from npm.
#   deploy/rehearse/rollout.sh [-only "rolling restart,key rotation"] [-keep] [-tsv]
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p build

# file PATTERN...: whether there is one of them.
file() { compgen -G "$1" >/dev/null || { [ $# -gt 1 ] && shift && file "$@"; }; }

missing() {
	packages=()
	file /usr/sbin/haproxy || packages+=(haproxy)
	file '/usr/lib/postgresql/*/bin/postgres' || packages+=(postgresql)
	command -v psql >/dev/null || packages+=(postgresql-client)
	command -v redis-server >/dev/null || packages+=(redis-server)
	command -v node >/dev/null || packages+=(nodejs)
	command -v npm >/dev/null || packages+=(npm)
}

# Debian starts a server when it installs one, unless this file forbids it.
quietly() {
	local policy=/usr/sbin/policy-rc.d status=0
	[ -e "$policy" ] && { "$@"; return; }
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	"$@" || status=$?
	rm -f "$policy"
	return "$status"
}

missing
if [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing ${packages[*]}" >&2
	apt-get -o DPkg::Lock::Timeout=300 update -qq >&2 || true # a source that is away need not be the one
	DEBIAN_FRONTEND=noninteractive quietly apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${packages[@]}" >build/rehearse.log 2>&1 ||
		{ tail -n 5 build/rehearse.log >&2; exit 1; }
	missing
fi
[ ${#packages[@]} -eq 0 ] || { echo "the rehearsal needs: apt-get install ${packages[*]}" >&2; exit 1; }

peer=deploy/test/peers/oauth
if ! cmp -s "$peer/package-lock.json" "$peer/node_modules/.installed"; then
	npm ci --prefix "$peer" --no-audit --no-fund --ignore-scripts >build/rehearse.log 2>&1 || { tail -n 5 build/rehearse.log >&2; exit 1; }
	cp "$peer/package-lock.json" "$peer/node_modules/.installed"
fi

go build -trimpath -o build/rollout ./deploy/rehearse/rollout
exec build/rollout "$@"
