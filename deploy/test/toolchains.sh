#!/usr/bin/env bash
# Installs what the tests compile plugins with and talk to: clang for WASM, Rust with its
# WASM target, the compiler of AssemblyScript in build/, an LDAP server, and the identity
# providers of deploy/test/peers/, beside their scripts. What is there already is left alone, so that only the first run takes its time, about two minutes and
# 800 MB. Where it cannot install, it says what is missing.
#   deploy/test/toolchains.sh && go test ./...
set -euo pipefail
cd "$(dirname "$0")/../.."

# file PATTERN...: whether there is one of them. They are patterns, since the paths have
# the versions of compilers in them.
file() { compgen -G "$1" >/dev/null || { [ $# -gt 1 ] && shift && file "$@"; }; }

program() { command -v "$1" >/dev/null; }

# rustup's compiler may stand in front of Debian's and know WASM only if that was added.
rust_for_wasm() {
	local rustc
	for rustc in "${RUSTC:-}" /usr/bin/rustc rustc; do
		[ -n "$rustc" ] && program "$rustc" && file "$("$rustc" --print target-libdir --target wasm32-unknown-unknown 2>/dev/null)/libcore-*.rlib" && return
	done
	return 1
}

# The compiler of AssemblyScript wants Node.js 20, which Debian has since 13.
node_20() { program node && node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'; }

packages=()
need() {
	local package=$1
	shift
	"$@" || packages+=("$package")
}

# clang_version: of the clang that is there, or that Debian would install.
clang_version() {
	local version
	version=$(clang -dumpversion 2>/dev/null) || version=$(apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p')
	echo "${version%%.*}"
}

missing() {
	packages=()
	need clang program clang
	need lld program wasm-ld
	need wasi-libc file /usr/include/wasm32-wasi/stdlib.h /usr/share/wasi-sysroot/include/wasm32-wasi/stdlib.h
	need "libclang-rt-$(clang_version)-dev-wasm32" file '/usr/lib/llvm-*/lib/clang/*/lib/wasi/libclang_rt.builtins-wasm32.a'
	rust_for_wasm || packages+=(rustc libstd-rust-dev-wasm32)
	need nodejs node_20
	need npm program npm
	need slapd file /usr/sbin/slapd
}

# Debian starts a server when it installs one, unless this file forbids it.
quietly() {
	local policy=/usr/sbin/policy-rc.d
	[ -e "$policy" ] && { "$@"; return; }
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	local status=0
	"$@" || status=$?
	rm -f "$policy"
	return "$status"
}

install_packages() {
	local log=build/toolchains.log
	echo "installing ${packages[*]}" >&2
	DEBIAN_FRONTEND=noninteractive quietly apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${packages[@]}" >"$log" 2>&1 ||
		{ tail -n 5 "$log" >&2; exit 1; }
}

# The compiler of AssemblyScript is what the lock of its SDK names, checked by its digests.
assemblyscript() {
	local into=build/assemblyscript lock=sdk/assemblyscript/package-lock.json
	file "$into/node_modules/assemblyscript/bin/asc.js" && cmp -s "$lock" "$into/package-lock.json" && return
	echo "installing AssemblyScript into $into" >&2
	mkdir -p "$into"
	cp sdk/assemblyscript/package.json "$lock" "$into/"
	npm ci --prefix "$into" --no-audit --no-fund --ignore-scripts >build/toolchains.log 2>&1 || { tail -n 5 build/toolchains.log >&2; rm -f "$into/package-lock.json"; exit 1; }
}

# The identity providers are what the lock of each folder names, checked by its digests.
peers() {
	local lock dir
	for lock in deploy/test/peers/*/package-lock.json; do
		dir=$(dirname "$lock")
		cmp -s "$lock" "$dir/node_modules/.installed" && continue
		echo "installing the packages of $dir" >&2
		npm ci --prefix "$dir" --no-audit --no-fund --ignore-scripts >build/toolchains.log 2>&1 || { tail -n 5 build/toolchains.log >&2; exit 1; }
		cp "$lock" "$dir/node_modules/.installed"
	done
}

mkdir -p build
exec 9>build/toolchains.lock
flock 9 # two runs in one checkout must not install at once
missing
if [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && program apt-get; then
	apt-get -o DPkg::Lock::Timeout=300 update -qq || true # a source that is away need not be the one
	missing
	install_packages
	missing
fi
if [ ${#packages[@]} -gt 0 ]; then
	echo "tests need what these Debian packages hold: apt-get install ${packages[*]}" >&2
	exit 1
fi
assemblyscript
peers
