#!/usr/bin/env bash
# Checks what stands between the source and who runs it: the workflows, the search for secrets, the
# files of a release, what they are made of, their licences and their signature. The tools are built
# from Go modules (deploy/supply/tools), the first time in some twenty minutes of two cores; one that
# takes longer than TOOL_TIMEOUT (1h) leaves its checks not run.
#   [VULNDB=file:///directory] deploy/verify/supply.sh
# shellcheck disable=SC2317,SC2329 # what check and refused call
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d "${TMPDIR:-/tmp}/shield-supply.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
failed=0

row() {
	printf '%s\t%s\t%s\n' "$1" "$2" "$3"
	[ "$3" != FAIL ] || failed=1
}

# check ARTEFACT CHECK COMMAND...: COMMAND succeeds.
check() {
	local result=ok
	"${@:3}" >"$work/out" 2>&1 || { result=FAIL; cat "$work/out" >&2; }
	row "$1" "$2" "$result"
}

# refused ARTEFACT CHECK WORD COMMAND...: COMMAND fails, and says WORD.
refused() {
	local result=ok
	if "${@:4}" >"$work/out" 2>&1 || ! grep -qe "$3" "$work/out"; then
		result=FAIL
		cat "$work/out" >&2
	fi
	row "$1" "$2" "$result"
}

need() {
	command -v "$1" >/dev/null && return
	[ "$(id -u)" = 0 ] && apt-get install -y -qq --no-install-recommends "$1" >&2
	command -v "$1" >/dev/null || { echo "these checks need $1: apt-get install $1" >&2; exit 1; }
}
need jq
need shellcheck
need git

# built TOOL: whether there is one, after at most TOOL_TIMEOUT.
built() { timeout "${TOOL_TIMEOUT:-1h}" deploy/supply/tool -path "$1" >/dev/null; }

# copy DIRECTORY: a clone with all of its history, and what is not committed yet.
copy() {
	git clone -q --no-hardlinks . "$1"
	git ls-files -z --cached --others --exclude-standard | xargs -0r cp --parents -t "$1" --
}

### Workflows

workflows=.github/workflows
check $workflows 'actionlint and shellcheck find nothing' make workflows
mkdir -p "$work/bad/.github/workflows"
cat >"$work/bad/.github/workflows/bad.yml" <<'END'
on: pull_request_target
jobs:
  bad:
    runs-on: ubuntu-24.04
    steps:
      - run: echo "${{ github.event.pull_request.title }}"
END
refused $workflows 'a script with what a stranger wrote is refused' untrusted "$(deploy/supply/tool -path actionlint)" "$work/bad/.github/workflows/bad.yml"
check $workflows 'actions pinned, least rights, make targets alone; bad examples refused' go test -count=1 -run 'Workflows' ./deploy/supply
check .github/dependabot.yml 'names each folder with dependencies' go test -count=1 -run Dependencies ./deploy/supply
check deploy/supply 'shellcheck finds nothing' shellcheck -x deploy/supply/*.sh deploy/supply/tool deploy/verify/supply.sh

### Secrets

check .gitleaks.toml 'no secret in the files and the whole history' make secrets-scan
copy "$work/leaky"
commit() { git -C "$work/leaky" -c user.name=t -c user.email=t@example.com commit -q --no-verify -am "$1"; }
commit 'as it is' >&2 || true
# Made here, so that this file has none.
planted=$(openssl genpkey -algorithm ed25519)
printf '%s\n' "$planted" >>"$work/leaky/gateway/seal/seal_test.go" # a file with an entry
refused .gitleaks.toml 'a key in a file that has an entry is found' private-key "$work/leaky/deploy/supply/secrets-scan.sh"
commit leak
git -C "$work/leaky" checkout -q HEAD~1 -- gateway/seal/seal_test.go
commit mend
refused .gitleaks.toml 'a key that was removed again is found' private-key "$work/leaky/deploy/supply/secrets-scan.sh"
git clone -q --depth 1 "file://$work/leaky" "$work/shallow"
refused .gitleaks.toml 'a clone without history is refused' unshallow "$work/shallow/deploy/supply/secrets-scan.sh"
rm -rf "$work/leaky" "$work/shallow"

### Vulnerabilities

if [ -n "${VULNDB:-}" ]; then
	check 'make vuln' "nothing known is called ($VULNDB)" make vuln "VULNDB=$VULNDB"
elif curl -sf --max-time 10 -o /dev/null https://vuln.go.dev/index/db.json; then
	check 'make vuln' 'nothing known is called' make vuln
else
	row 'make vuln' 'nothing known is called' 'not run: needs vuln.go.dev or VULNDB'
fi

### What may become a release

git clone -q --no-hardlinks . "$work/tagged"
cp deploy/supply/* "$work/tagged/deploy/supply/" 2>/dev/null || true
in_tagged() { git -C "$work/tagged" -c user.name=t -c user.email=t@example.com "$@"; }
in_tagged add -A
in_tagged commit -q --no-verify --allow-empty -m 'what is here'
in_tagged update-ref refs/remotes/origin/main HEAD
refused tagged.sh 'a commit without a tag is refused' 'not a version' "$work/tagged/deploy/supply/tagged.sh"
in_tagged tag v1.2.3
check tagged.sh 'a tagged commit of main is taken' "$work/tagged/deploy/supply/tagged.sh"
refused tagged.sh 'another version is refused' 'not the tag' env VERSION=v1.2.4 "$work/tagged/deploy/supply/tagged.sh"
touch "$work/tagged/more"
refused tagged.sh 'changed files are refused' 'were changed' env VERSION=v1.2.3 "$work/tagged/deploy/supply/tagged.sh"
rm "$work/tagged/more"
in_tagged commit -q --no-verify --allow-empty -m 'not on main'
in_tagged tag v1.2.4
refused tagged.sh 'a commit that is not on main is refused' 'not on main' "$work/tagged/deploy/supply/tagged.sh"

### Files of a release

export VERSION=v0.0.0-verify
if ! built syft || ! built cosign; then
	row 'make release-files' 'files, SBOM, licences and signature' 'not run: syft and cosign were not built in time'
	exit "$failed"
fi
release=$work/release
check 'make release-files' 'builds for two architectures, with plugins' deploy/supply/release-files.sh "$release"
copy "$work/elsewhere"
again() { env GOCACHE="$work/cache" "$work/elsewhere/deploy/supply/release-files.sh" "$work/again"; }
check 'make release-files' 'builds again, elsewhere, with nothing cached' again
check 'make release-files' 'both are the same bytes, SBOM and licences too' diff "$release/SHA256SUMS" "$work/again/SHA256SUMS"
rm -rf "$work/elsewhere" "$work/again" "$work/cache"

program=$release/shield-linux-amd64
says_version() { [ "$("$program" version)" = "shield $VERSION" ]; }
is_for() { go version -m "$release/shield-linux-$1" | grep -qP "build\tGOARCH=$1$" && ! grep -qa '/lib.*/ld-linux' "$release/shield-linux-$1"; }
plugins_are_read() { for plugin in email oauth saml; do "$program" plugin inspect "$release/$plugin.wasm"; done; }
check shield-linux-amd64 'runs and says its version' says_version
check shield-linux-amd64 'is static' is_for amd64
check shield-linux-arm64 'is static, and of its architecture (not run on one)' is_for arm64
check 'plugins of the release' 'shield plugin inspect reads them' plugins_are_read

### What they are made of

# modules PROGRAM: path and version of each that is linked, after replacements.
modules() {
	go version -m "$1" | awk -F '\t' '$2 == "dep" { if (module) print module; module = $3 " " $4 } $2 == "=>" { module = $3 " " $4 } END { print module }'
}
of_plugins() {
	GOOS=wasip1 GOARCH=wasm go list -deps -f '{{with .Module}}{{if not .Main}}{{with .Replace}}{{.Path}} {{.Version}}{{else}}{{.Path}} {{.Version}}{{end}}{{end}}{{end}}' ./plugins/{email,oauth,saml}/cmd | sort -u
}
in_spdx() { jq -r '.packages[] | .name + " " + .versionInfo' "$1"; }
in_cyclonedx() { jq -r '.components[] | .name + " " + .version' "$1"; }
# all_listed FILE SBOM LEAST: each line of the one file, at least so many, is in the other.
all_listed() {
	local missing
	[ "$(wc -l <"$1")" -ge "$3" ] || { echo "only $(wc -l <"$1") modules"; return 1; }
	missing=$(grep -vxFf "$2" "$1" || true)
	[ -z "$missing" ] || { echo "not in the SBOM:"; echo "$missing"; return 1; }
}
modules "$program" >"$work/linked"
{ modules "$release/shield-linux-arm64"; cat "$work/linked"; } | sort -u >"$work/linked-by-either"
of_plugins >"$work/linked-by-plugins"
cat "$work/linked-by-plugins" "$work/linked-by-either" >"$work/all"
in_spdx "$release/shield.spdx.json" >"$work/spdx"
in_cyclonedx "$release/shield.cdx.json" >"$work/cdx"
in_spdx "$release/source.spdx.json" >"$work/source"
grep -vF github.com/valyala/fasthttp "$work/spdx" >"$work/spdx-less"
count=$(wc -l <"$work/linked-by-either")
check shield.spdx.json 'is SPDX 2.3 by syft' jq -e '.spdxVersion == "SPDX-2.3" and any(.creationInfo.creators[]; startswith("Tool: syft"))' "$release/shield.spdx.json"
check shield.spdx.json "has all $count modules of the programs" all_listed "$work/linked-by-either" "$work/spdx" 40
check shield.cdx.json "has all $count modules of the programs" all_listed "$work/linked-by-either" "$work/cdx" 40
refused shield.spdx.json 'one that lacks a module is refused' fasthttp all_listed "$work/linked-by-either" "$work/spdx-less" 40
check source.spdx.json "has all $(wc -l <"$work/linked-by-plugins") modules of the plugins, and the programs'" all_listed "$work/all" "$work/source" 40

check licenses.txt 'each licence is allowed' deploy/supply/licenses.sh "$release"
mkdir "$work/other"
jq '(.packages[] | select(.name == "github.com/valyala/fasthttp") | .licenseDeclared) = "AGPL-3.0-only"' "$release/source.spdx.json" >"$work/other/source.spdx.json"
refused licenses.txt 'another one is refused' AGPL deploy/supply/licenses.sh "$work/other"
noticed() { while read -r module version; do grep -qF "======== $module $version: " "$release/THIRD_PARTY_LICENSES" || { echo "$module $version"; return 1; }; done <"$work/all"; }
check THIRD_PARTY_LICENSES 'has the licence of each module' noticed

### Signature

keys() { (cd "$work" && "$cosign" generate-key-pair --output-key-prefix "$1"); }
cosign=$(deploy/supply/tool -path cosign)
export COSIGN_PASSWORD=''
check 'make sign' 'cosign makes a key' keys ours
keys theirs >&2
export COSIGN_KEY=$work/ours.key COSIGN_PUBLIC_KEY=$work/ours.pub
check 'make sign' 'signs the checksums, by a key, offline' deploy/supply/sign.sh "$release"
check 'make verify-release' 'the signed release is good' deploy/supply/verify-release.sh "$release"
refused 'make verify-release' "another's key is refused" 'signature' env COSIGN_PUBLIC_KEY="$work/theirs.pub" deploy/supply/verify-release.sh "$release"
cp "$release/email.wasm" "$work/email.wasm"
printf x >>"$release/email.wasm"
refused 'make verify-release' 'a changed file is refused' 'email.wasm: FAILED' deploy/supply/verify-release.sh "$release"
sums=$(cat "$release/SHA256SUMS")
(cd "$release" && sha256sum -- * | grep -v SHA256SUMS >"$work/sums" && cp "$work/sums" SHA256SUMS)
refused 'make verify-release' 'changed checksums are refused' 'signature' deploy/supply/verify-release.sh "$release"
cp "$work/email.wasm" "$release/email.wasm"
printf '%s\n' "$sums" >"$release/SHA256SUMS"
check 'make verify-release' 'put back, it is good again' deploy/supply/verify-release.sh "$release"
rm "$release/saml.wasm"
refused 'make verify-release' 'a missing file is refused' saml.wasm deploy/supply/verify-release.sh "$release"
unset COSIGN_KEY COSIGN_PUBLIC_KEY

### What only GitHub can run: the commands, and whether the programs know their options

export DRY=1 VERSION=v1.2.3 GITHUB_REPOSITORY=materi/shield GITHUB_ACTOR=somebody
identity="--certificate-identity https://github.com/materi/shield/.github/workflows/release.yml@refs/tags/v1.2.3 --certificate-oidc-issuer https://token.actions.githubusercontent.com"
digest=ghcr.io/materi/shield@sha256:$(printf '0%.0s' {1..64})
here=$(pwd -P)/build/release
# prints SCRIPT <COMMANDS: it would run these, and nothing else.
prints() { diff <(sed "s|^cosign|deploy/supply/tool cosign|" "$work/want") <("$1" </dev/null); }
knows() { # COMMAND...: each option of it that begins with two hyphens
	local help option
	help=$("${@:2}" --help 2>&1)
	while read -r option; do grep -q -- " $option" <<<"$help" || { echo "no option $option"; return 1; }; done < <(grep -o -- ' --[a-z-]*' "$1")
}
cat >"$work/want" <<END
cosign sign-blob --yes --bundle $here/SHA256SUMS.sigstore.json $here/SHA256SUMS
END
check 'make sign' 'without a key: the command is the documented one' prints deploy/supply/sign.sh
check 'make sign' 'without a key: cosign knows its options' knows "$work/want" "$cosign" sign-blob
row 'make sign' 'without a key: signs' 'not run: needs an OIDC issuer (GitHub)'
cat >"$work/want" <<END
cosign verify-blob $identity --bundle $here/SHA256SUMS.sigstore.json $here/SHA256SUMS
env -C $here sha256sum --check --strict --quiet SHA256SUMS
END
check 'make verify-release' 'by identity: the command is the documented one' prints deploy/supply/verify-release.sh
sed -i 1q "$work/want"
check 'make verify-release' 'by identity: cosign knows its options' knows "$work/want" "$cosign" verify-blob
row 'make verify-release' 'by identity: verifies' 'not run: needs a signature by an OIDC identity'
cat >"$work/want" <<END
docker load --input build/image.tar
docker tag shield:v1.2.3 ghcr.io/materi/shield:v1.2.3
docker login ghcr.io --username somebody --password-stdin
docker push ghcr.io/materi/shield:v1.2.3
cosign sign --yes $digest
cosign attest --yes --type spdxjson --predicate build/release/shield.spdx.json $digest
cosign verify $identity $digest
END
check push-image.sh 'the commands are as documented' prints deploy/supply/push-image.sh
for command in sign attest verify; do
	grep "^cosign $command " "$work/want" >"$work/one"
	check push-image.sh "cosign $command knows its options" knows "$work/one" "$cosign" "$command"
done
row push-image.sh 'pushes, signs and verifies' 'not run: needs a registry and an OIDC issuer'
echo "gh release create v1.2.3 --repo materi/shield --verify-tag --generate-notes --title v1.2.3 build/release/\\*" >"$work/want"
check publish.sh 'the command is as documented' prints deploy/supply/publish.sh
row publish.sh 'makes the release' 'not run: needs GitHub'
row release.yml 'attests the provenance' "not run: needs GitHub's service"
echo 'deploy/supply/tool trivy image --input build/image.tar --scanners vuln,secret --severity HIGH,CRITICAL --exit-code 1 --no-progress' >"$work/want"
check 'make image-scan' 'the command is as documented' prints deploy/supply/image-scan.sh
row 'make image-scan' 'finds nothing high or critical' "not run: trivy needs its database"
unset DRY VERSION

exit "$failed"
