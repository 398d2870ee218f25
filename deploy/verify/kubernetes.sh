#!/usr/bin/env bash
# Checks deploy/kubernetes. Each line on standard output is artefact, check, result, with tabs
# between; the status is 1 if one failed.
#   deploy/verify/kubernetes.sh         everything: also what the pods run, with a Postgres and a
#                                       Redis, and a real API server, which takes some ten minutes to
#                                       build, once
#   deploy/verify/kubernetes.sh quick   what looks at the manifests alone
# shellcheck disable=SC2317 # the functions are called by check
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/verify/kubernetes/tools.sh

mode=${1:-all}
kubernetes=deploy/kubernetes
chart=$kubernetes/chart
overlays=(dev staging production production-mesh production-blue-green)
# What production-mesh has of kinds that operators bring.
brought=(AuthorizationPolicy ExternalSecret HTTPRoute NamespacedImageValidatingPolicy NamespacedValidatingPolicy PeerAuthentication ServiceMonitor)
work=$(mktemp -d "${TMPDIR:-/tmp}/shield-kubernetes.XXXXXX")
server='' etcd='' failed=0

stop() {
	local status=$?
	trap - EXIT INT TERM
	[ -z "$server" ] || kill "$server" 2>/dev/null
	[ -z "$server" ] || wait "$server" 2>/dev/null # before etcd, or it would wait for that
	[ -z "$etcd" ] || kill "$etcd" 2>/dev/null
	wait 2>/dev/null
	rm -rf "$work"
	exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

die() {
	echo "$*" >&2
	exit 1
}

# check ARTEFACT CHECK COMMAND...: runs it and says how it went; what a failed one printed goes
# to standard error.
check() {
	local artefact=$1 what=$2
	shift 2
	if "$@" >"$work/out" 2>&1; then
		printf '%s\t%s\tok\n' "$artefact" "$what"
		return
	fi
	failed=1
	printf '%s\t%s\tFAIL\n' "$artefact" "$what"
	tail -n 60 "$work/out" >&2
}

# refused REASON COMMAND...: succeeds if the command fails and says why.
refused() {
	local reason=$1
	shift
	! "$@" >"$work/refused" 2>&1 || { echo "was not refused: $*"; return 1; }
	grep -q "$reason" "$work/refused" || { cat "$work/refused"; return 1; }
}

namespace_of() {
	case $1 in
	dev | staging) echo "shield-$1" ;;
	*) echo shield ;;
	esac
}

# values_of OVERLAY: the options that give helm what the overlay says.
values_of() {
	case $1 in
	production-*) echo "--values $chart/values-production.yaml --values $chart/values-$1.yaml" ;;
	*) echo "--values $chart/values-$1.yaml" ;;
	esac
}

rendered() {
	mkdir "$work/rendered"
	"$kubernetes/render.sh" "$work/rendered" || return
	local file
	(cd "$work/rendered" && find . -type f) | while read -r file; do
		diff -u "$kubernetes/$file" "$work/rendered/$file" || { echo "run deploy/kubernetes/render.sh"; exit 1; }
	done
}

build() { "$kustomize" build "$kubernetes/overlays/$1" >"$work/$1.yaml"; }

template() {
	# shellcheck disable=SC2046 # the options are words
	"$helm" template shield "$chart" --kube-version "$kube_version" --namespace "$(namespace_of "$1")" --set namespace.create=true $(values_of "$1") >"$work/$1.helm.yaml"
}

same() { build "$1" && template "$1" && "$work/manifests" equal "$work/$1.yaml" "$work/$1.helm.yaml"; }

lint() {
	# shellcheck disable=SC2046
	"$helm" lint --strict --quiet "$chart" --kube-version "$kube_version" --namespace "$(namespace_of "$1")" $(values_of "$1")
}

conform() { "$kubeconform" -strict -summary -schema-location "$work/schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$@"; }

# bad KIND: writes the objects of a kind with a member that there is not.
bad() {
	"$work/manifests" kind "$1" <"$work/production-mesh.yaml" >"$work/kind.yaml" || return
	sed 's/^spec:$/spec:\n    invented: 1/' "$work/kind.yaml" >"$work/bad.yaml"
}

# A schema that takes everything would pass, too.
bites() { bad "$1" && conform "$work/kind.yaml" && refused invented conform "$work/bad.yaml"; }

# score OVERLAY [TEST]: as if TEST were no exception.
score() {
	local options=(--kubernetes-version v1.36 --exit-one-on-warning --output-format ci) overlay name
	for name in container-ports-check container-seccomp-profile; do
		options+=(--enable-optional-test "$name")
	done
	while IFS=$'\t' read -r overlay name _; do
		[[ $overlay != "$1" && $overlay != '*' || $name == "${2:-}" ]] || options+=(--ignore-test "$name")
	done <"$kubernetes/kube-score.exceptions"
	"$work/manifests" only <"$work/$1.yaml" >"$work/score.yaml" || return
	"$kubescore" score "${options[@]}" "$work/score.yaml" >"$work/score" && return
	grep -v '^\[OK\]\|^\[SKIPPED\]' "$work/score"
	return 1
}

# What is excepted and needs no exception could break unseen.
exceptions_are_needed() {
	local overlay name
	while IFS=$'\t' read -r overlay name _; do
		[[ $overlay != '#'* ]] || continue
		[ "$overlay" != '*' ] || overlay=production
		! score "$overlay" "$name" >/dev/null || { echo "$overlay needs no exception of $name"; return 1; }
	done <"$kubernetes/kube-score.exceptions"
}

policies() { "$conftest" test --combine --policy "$kubernetes/policy" --no-color "$work/$1.yaml"; }

# What is rendered is read as the rules read their test: with one change they refuse it.
policies_bite() {
	sed 's/runAsUser: 1000/runAsUser: 0/' "$work/$1.yaml" >"$work/changed.yaml"
	refused 'not uid and gid 1000' "$conftest" test --combine --policy "$kubernetes/policy" --no-color "$work/changed.yaml"
}

# cases POLICY: each rule refuses what it is for. What file is read is of no account.
cases() { "$conftest" test --policy "$1" --namespace cases --no-color "$kubernetes/secret.template.yaml"; }

# Without any one of the rules one of the cases is let through, so that each of them is tested.
rules_are_tested() {
	local lines line
	mapfile -t lines < <(grep -n '^deny contains' "$kubernetes/policy/shield.rego" | cut -d : -f 1)
	[ "${#lines[@]}" -gt 20 ] || { echo "only ${#lines[@]} rules"; return 1; }
	mkdir -p "$work/policy"
	cp "$kubernetes/policy/cases.rego" "$work/policy"
	for line in "${lines[@]}"; do
		sed "${line}s/^deny/unasked/" "$kubernetes/policy/shield.rego" >"$work/policy/shield.rego"
		refused 'no rule refuses: ' cases "$work/policy" || { echo "nothing tests the rule of line $line"; return 1; }
	done
}

empty_secret() {
	! grep -E '^  [a-z-]+: ' "$kubernetes/secret.template.yaml" | sed '/^  \(name\|namespace\): /d' | grep -v ': ""$'
}

quick() {
	check "$kubernetes/base, components" 'are what the chart renders' rendered
	check "$kubernetes/secret.template.yaml" 'holds no value' empty_secret
	check "$kubernetes/secret.template.yaml, ingress-nginx" 'kubeconform' conform "$kubernetes/secret.template.yaml" "$kubernetes/ingress-nginx"
	check "$kubernetes/policy" 'each rule refuses what it is for' cases "$kubernetes/policy"
	check "$kubernetes/policy" 'no rule is without a test' rules_are_tested
	local overlay kind
	for overlay in "${overlays[@]}"; do
		check "overlays/$overlay" 'kustomize and helm give the same objects' same "$overlay"
		check "overlays/$overlay" 'helm lint' lint "$overlay"
		check "overlays/$overlay" "kubeconform, schemas of Kubernetes $kube_version and of the operators" conform "$work/$overlay.yaml"
		check "overlays/$overlay" 'kube-score' score "$overlay"
		check "overlays/$overlay" 'conftest, rules of policy/' policies "$overlay"
		check "overlays/$overlay" 'conftest refuses it with another user' policies_bite "$overlay"
	done
	check "$kubernetes/kube-score.exceptions" 'each exception is needed' exceptions_are_needed
	for kind in "${brought[@]}"; do
		check "$kind" 'its schema takes ours and refuses an invented member' bites "$kind"
	done
}

free_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 20000))
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
	done
}

need_etcd() {
	command -v etcd >/dev/null && return
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing $etcd_package" >&2
		{ apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "$etcd_package"; } >"$work/apt.log" 2>&1 || tail -n 5 "$work/apt.log" >&2
	fi
	command -v etcd >/dev/null || die "the API server needs etcd: apt-get install $etcd_package"
}

# start brings up etcd and an API server of their own. There are no controllers and no nodes: it
# checks and keeps objects, and nothing runs.
start() {
	local peer client port token i
	need_etcd
	bin=$(kube) || exit 1
	client=$(free_port) peer=$(free_port) port=$(free_port)
	mkdir "$work/kube"
	etcd --data-dir "$work/kube/etcd" --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
		--listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
		--initial-cluster "default=http://127.0.0.1:$peer" --log-level error >"$work/kube/etcd.log" 2>&1 &
	etcd=$!
	openssl genrsa -out "$work/kube/accounts.key" 2048 2>/dev/null || die 'openssl is missing: apt-get install openssl'
	token=$(openssl rand -hex 16)
	echo "$token,admin,admin,system:masters" >"$work/kube/tokens.csv"
	"$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$client" --bind-address 127.0.0.1 --secure-port "$port" --cert-dir "$work/kube/certs" \
		--service-account-issuer https://kubernetes.default.svc --service-account-signing-key-file "$work/kube/accounts.key" \
		--service-account-key-file "$work/kube/accounts.key" --service-cluster-ip-range 10.96.0.0/24 --token-auth-file "$work/kube/tokens.csv" \
		--authorization-mode RBAC --advertise-address 127.0.0.1 --endpoint-reconciler-type none >"$work/kube/server.log" 2>&1 &
	server=$!
	export KUBECONFIG=$work/kube/config KUBECTL=$bin/kubectl
	cat >"$KUBECONFIG" <<-CONFIG
		apiVersion: v1
		kind: Config
		clusters: [{name: c, cluster: {server: "https://127.0.0.1:$port", insecure-skip-tls-verify: true}}]
		users: [{name: u, user: {token: "$token"}}]
		contexts: [{name: x, context: {cluster: c, user: u}}]
		current-context: x
	CONFIG
	for ((i = 0; i < 600; i++)); do
		[ "$(kubectl get --raw /readyz 2>/dev/null)" = ok ] && return
		kill -0 "$server" 2>/dev/null || break
		sleep 0.2
	done
	tail -n 20 "$work/kube/server.log" >&2
	die 'the API server does not start'
}

kubectl() { "$KUBECTL" "$@"; }

# The kinds of the operators, without whom nobody acts on them.
define() {
	kubectl create -f "$work/definitions.yaml" && kubectl wait --for condition=established --timeout 60s -f "$work/definitions.yaml"
}

bites_server() { bad "$1" && kubectl apply --dry-run=server -f "$work/kind.yaml" && refused 'unknown field "spec.invented"' kubectl apply --dry-run=server -f "$work/bad.yaml"; }

# The namespace as it is rendered, and the account that a controller would make in it.
namespace() {
	local namespace
	namespace=$(namespace_of "$1")
	"$work/manifests" only Namespace <"$work/$1.yaml" | kubectl apply -f - || return
	kubectl --namespace "$namespace" get serviceaccount default >/dev/null 2>&1 || kubectl --namespace "$namespace" create serviceaccount default
}

accepted() { kubectl apply --dry-run=server --warnings-as-errors -f "$work/$1.yaml"; }

# Pod Security judges pods alone: of what makes them it warns at most. So each is made.
pods() {
	"$work/manifests" only ServiceAccount <"$work/$1.yaml" | kubectl apply -f - || return
	"$work/manifests" pods <"$work/$1.yaml" >"$work/pods.yaml" && kubectl create --warnings-as-errors -f "$work/pods.yaml" || return
	kubectl delete -f "$work/pods.yaml" --wait=false
}

# The namespace really refuses what it should.
insecure_pods() {
	local change
	for change in \
		's/allowPrivilegeEscalation: false/allowPrivilegeEscalation: true/' \
		's/runAsNonRoot: true/runAsNonRoot: false/' \
		's/runAsUser: 1000/runAsUser: 0/' \
		's/type: RuntimeDefault/type: Unconfined/' \
		's/^\( *\)drop:$/\1add: [NET_ADMIN]\n&/' \
		's/^spec:$/&\n    hostNetwork: true/' \
		's/^\( *\)volumes:$/&\n\1    - {name: node, hostPath: {path: \/etc}}/'; do
		sed "$change" "$work/pods.yaml" >"$work/insecure.yaml"
		refused 'violates PodSecurity "restricted:latest"' kubectl create --dry-run=server -f "$work/insecure.yaml" || { echo "after $change"; return 1; }
	done
}

# With everything applied the gateway's account may do nothing but ask what it may do.
no_rights() {
	kubectl apply -f "$work/production.yaml" || return
	local verb
	for verb in 'get secrets' 'list pods' 'get configmaps' 'create pods' 'patch deployments'; do
		# shellcheck disable=SC2086
		[ "$(kubectl auth can-i $verb --namespace shield --as system:serviceaccount:shield:shield 2>/dev/null)" = no ] || { echo "it may $verb"; return 1; }
	done
}

# kubectl itself calls some "configured" of which it sends what is there already.
versions() { kubectl get -f "$work/production.yaml" --output 'go-template={{range .items}}{{.kind}} {{.metadata.name}} {{.metadata.resourceVersion}}{{"\n"}}{{end}}'; }

applied_twice() {
	versions >"$work/versions" && kubectl apply -f "$work/production.yaml" && versions >"$work/again" || return
	diff "$work/versions" "$work/again"
}

helm_installs() {
	kubectl create namespace shield-helm && kubectl --namespace shield-helm create serviceaccount default || return
	# A hook is waited for, and nothing runs here.
	# shellcheck disable=SC2046
	"$helm" install shield "$chart" --namespace shield-helm --no-hooks $(values_of production) || return
	# shellcheck disable=SC2046
	"$helm" upgrade shield "$chart" --namespace shield-helm --no-hooks $(values_of production) --set environment.LOG_LEVEL=warn || return
	"$helm" rollback shield 1 --namespace shield-helm --no-hooks
}

# until_refused REASON COMMAND...: as refused; a new policy takes effect a moment after it is there.
until_refused() {
	local i
	for ((i = 0; i < 100; i++)); do
		! refused "$@" >/dev/null || return 0
		sleep 0.1
	done
	refused "$@"
}

# What Kyverno's policy says of images is in the language of Kubernetes' own policies, so the API
# server shows what it refuses. Signatures are checked by Kyverno alone.
images() {
	local change
	"$work/manifests" admission <"$work/$1.yaml" | kubectl apply --warnings-as-errors -f - || return
	"$work/manifests" pods <"$work/$1.yaml" >"$work/pods.yaml" || return
	sed 's|image: gcr.io/materi/|image: docker.io/other/|' "$work/pods.yaml" >"$work/other.yaml"
	until_refused 'Only images of gcr.io/materi/' kubectl create --dry-run=server -f "$work/other.yaml" || return
	for change in 's|\(image: gcr.io/materi/[a-z-]*\):.*|\1:latest|' 's|\(image: gcr.io/materi/[a-z-]*\):.*|\1|'; do
		sed "$change" "$work/pods.yaml" >"$work/latest.yaml"
		refused 'latest is moved' kubectl create --dry-run=server -f "$work/latest.yaml" || { echo "after $change"; return 1; }
	done
	# One bad container among good ones, of each kind.
	sed 's/^\( *\)containers:$/\1initContainers: [{name: first, image: "docker.io\/other:1", securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]\n&/' "$work/pods.yaml" >"$work/first.yaml"
	refused 'Only images of gcr.io/materi/' kubectl create --dry-run=server -f "$work/first.yaml" || return
	kubectl create --warnings-as-errors -f "$work/pods.yaml" || return
	refused 'Only images of gcr.io/materi/' kubectl --namespace "$(namespace_of "$1")" debug job-shield-migrate --profile restricted --image docker.io/other:1 --attach=false || return
	kubectl delete -f "$work/pods.yaml" --wait=false
}

# A change of the configuration is a rollout: another name in the pod's template.
config_rolls_out() {
	cp -r "$kubernetes" "$work/changed" && echo '# changed' >>"$work/changed/base/shield.yaml"
	"$kustomize" build "$work/changed/overlays/production" | "$work/manifests" only Deployment >"$work/deployment.yaml" || return
	"$work/manifests" only Deployment <"$work/production.yaml" >"$work/before.yaml" || return
	! diff "$work/before.yaml" "$work/deployment.yaml" >"$work/diff" || { echo 'the Deployment is the same'; return 1; }
	[ "$(grep '^>' "$work/diff" | tee "$work/new" | wc -l)" = 1 ] || { cat "$work/diff"; return 1; }
	grep '^>  *name: shield-config-' "$work/new"
}

api_server() {
	start
	local overlay kind
	check 'definitions of the operators' "kube-apiserver $kube_version takes them" define
	for overlay in "${overlays[@]}"; do
		check "overlays/$overlay" 'the namespace is made' namespace "$overlay"
		check "overlays/$overlay" "kube-apiserver $kube_version takes it (dry run)" accepted "$overlay"
		check "overlays/$overlay" 'its pods pass Pod Security "restricted"' pods "$overlay"
		check "overlays/$overlay" 'insecure pods are refused' insecure_pods
	done
	for kind in "${brought[@]}"; do
		check "$kind" 'the API server refuses an invented member' bites_server "$kind"
	done
	check "$kubernetes/base" 'the account has no rights' no_rights
	check "$kubernetes/base" 'applied again, nothing changes' applied_twice
	check "$kubernetes/base" 'a changed configuration is a rollout' config_rolls_out
	check "$chart" 'helm installs, upgrades and rolls back' helm_installs
	for overlay in staging production; do
		check "overlays/$overlay" 'its policy refuses images from elsewhere and those without a fixed tag' images "$overlay"
	done
	check "$kubernetes/blue-green.sh" 'switches, and refuses what is not complete' deploy/verify/kubernetes/blue-green.sh "$work/production-blue-green.yaml"
	PATH="$bin:${helm%/*}:$PATH" deploy/verify/kubernetes/page.sh || failed=1
	printf '%s\t%s\t%s\n' components/kyverno 'images without a signature are refused' 'not run: neither Kyverno, a registry nor the signing service can be had here'
	printf '%s\t%s\t%s\n' components/istio 'the mesh keeps to its policies' 'not run: Istio cannot be had here'
}

helm=$(tool "$helm_module")
kustomize=$(tool "$kustomize_module")
kubeconform=$(tool "$kubeconform_module")
kubescore=$(tool "$kubescore_module")
conftest=$(tool "$conftest_module")
swagger=$(swagger) || die 'the description of the API of Kubernetes cannot be had'
go build -o "$work/manifests" ./deploy/verify/kubernetes
mapfile -t files < <(definitions)
"$kustomize" build "$kubernetes/overlays/production-mesh" | "$work/manifests" definitions "${files[@]}" >"$work/definitions.yaml"
"$work/manifests" schemas "$swagger" "$work/schemas" <"$work/definitions.yaml"
case $mode in
quick) quick ;;
all)
	quick
	deploy/test/servers.sh deploy/verify/kubernetes/containers.sh "$work/production.yaml" || failed=1
	api_server
	;;
*) die "usage: $0 [quick]" ;;
esac
exit "$failed"
