#!/usr/bin/env bash
# Builds kubectl, kube-apiserver and kube-controller-manager from Kubernetes' Go module.
#   deploy/verify/kubernetes/build.sh VERSION DIRECTORY
# The module cannot be installed by its name, since it replaces its parts by directories of its
# own; here they are replaced by what is published of the same release. It takes some ten minutes.
set -euo pipefail
version=$1 minor=${1#1.} into=$2
parts=v0.${version#*.}
mkdir -p "$into/module"
cd "$into/module"
rm -f go.mod go.sum
go mod init verify
go mod edit -go=1.26.0 -godebug=default=go1.26 -require="k8s.io/kubernetes@v$version"
source=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
sed -n 's/^\t\(k8s.io\/[a-z0-9-]*\) v0\.0\.0$/\1/p' "$source/go.mod" | while read -r part; do
	go mod edit -require="$part@$parts" -replace="$part=$part@$parts"
done
programs=(kubectl kube-apiserver kube-controller-manager)
{
	printf '//go:build tools\n\npackage tools\n\nimport (\n'
	printf '\t_ "k8s.io/kubernetes/cmd/%s"\n' "${programs[@]}"
	printf ')\n'
} >tools.go
export GOFLAGS='-mod=mod -buildvcs=false' CGO_ENABLED=0
about=k8s.io/component-base/version
for program in "${programs[@]}"; do
	go build -o "../$program.new" -ldflags "-s -w -X $about.gitVersion=v$version -X $about.gitMajor=1 -X $about.gitMinor=${minor%.*}" "k8s.io/kubernetes/cmd/$program"
	mv "../$program.new" "../$program" # whole or not at all
done
