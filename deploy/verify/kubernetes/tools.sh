# What deploy/verify/kubernetes.sh and deploy/kubernetes/render.sh need, built from Go modules
# of fixed versions into a cache outside of the repository. To be sourced: it defines
# functions and does nothing by itself.
# shellcheck shell=bash disable=SC2034 # the variables are for those who source it

kube_version=1.36.3
etcd_package=etcd-server
helm_module=helm.sh/helm/v3/cmd/helm@v3.22.0
kustomize_module=sigs.k8s.io/kustomize/kustomize/v5@v5.8.2 # 5.8.3 wants Go 1.27
kubeconform_module=github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
kubescore_module=github.com/zegl/kube-score/cmd/kube-score@v1.20.0
conftest_module=github.com/open-policy-agent/conftest@v0.71.1

# Kinds that operators bring, as their makers publish them: the module, and the file in it.
operators='
sigs.k8s.io/gateway-api@v1.6.3 config/crd/standard/gateway.networking.k8s.io_httproutes.yaml
istio.io/api@v1.32.0 kubernetes/customresourcedefinitions.gen.yaml
github.com/kyverno/kyverno@v1.19.1 config/crds/policies.kyverno.io/policies.kyverno.io_namespacedvalidatingpolicies.yaml
github.com/kyverno/kyverno@v1.19.1 config/crds/policies.kyverno.io/policies.kyverno.io_namespacedimagevalidatingpolicies.yaml
github.com/external-secrets/external-secrets@v1.3.2 config/crds/bases/external-secrets.io_externalsecrets.yaml
github.com/prometheus-operator/prometheus-operator@v0.85.0 example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml
'

cache=${XDG_CACHE_HOME:-$HOME/.cache}/shield-verify
mkdir -p "$cache"

# tool MODULE@VERSION: prints the path of its program, which it builds if that is missing.
tool() {
	local module=$1 name version into
	name=${module%@*}
	name=${name##*/}
	[[ $name != v[0-9] ]] || { name=${module%/v[0-9]@*}; name=${name##*/}; }
	version=${module##*@}
	into=$cache/$name-$version
	[ -x "$into/$name" ] || (
		flock 9
		[ -x "$into/$name" ] && exit
		echo "building $name $version" >&2
		GOBIN=$into GOFLAGS=-mod=mod CGO_ENABLED=0 go install "$module" >"$cache/$name.log" 2>&1 || { tail -n 5 "$cache/$name.log" >&2; exit 1; }
	) 9>"$cache/$name.lock" || return
	echo "$into/$name"
}

# source_of MODULE@VERSION: prints where its source is.
source_of() (
	cd / # a go.mod around here is of no account
	go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p' | grep .
)

# kube: prints the directory of kubectl, kube-apiserver and kube-controller-manager, which are
# built once.
kube() (
	into=$cache/kubernetes-$kube_version
	exec 9>"$cache/kube.lock"
	flock 9
	if [ ! -x "$into/kubectl" ] || [ ! -x "$into/kube-apiserver" ] || [ ! -x "$into/kube-controller-manager" ]; then
		echo "building Kubernetes $kube_version" >&2
		"${BASH_SOURCE[0]%/*}/build.sh" "$kube_version" "$into" >"$cache/kube.log" 2>&1 || { tail -n 5 "$cache/kube.log" >&2; exit 1; }
	fi
	echo "$into"
)

# swagger: prints the path of the description of Kubernetes' API, which is there without a build.
swagger() {
	local source
	source=$(source_of "k8s.io/kubernetes@v$kube_version") && echo "$source/api/openapi-spec/swagger.json"
}

# definitions: prints the paths of the definitions of the operators' kinds.
definitions() {
	local module file source
	while read -r module file; do
		[ -n "$module" ] || continue
		source=$(source_of "$module") || return
		ls "$source/$file" || return
	done <<<"$operators"
}
