#!/usr/bin/env bash
# Runs the commands of docs/kubernetes.md (its text blocks, in their order) against the API server
# of KUBECONFIG, with kubectl, helm and kube-controller-manager of PATH, and watches what they do:
#   deploy/verify/kubernetes/page.sh
# The controllers are Kubernetes' own: Deployments roll out, Jobs end, Services have endpoints.
# What no machine is there for is done by hand: a pod is bound to a node and said to run, or to
# have ended if it is a Job's. It prints a line for each check.
set -euo pipefail
cd "$(dirname "$0")/../../.."
checkout=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/shield-page.XXXXXX")
pids=()

stop() {
	local status=$?
	trap - EXIT INT TERM
	[ "${#pids[@]}" = 0 ] || kill "${pids[@]}" 2>/dev/null || true
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
	exit 1
}

# until_true SECONDS COMMAND...
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return
		sleep 0.2
	done
}

# --- the machines that there are not

for n in 1 2 3; do
	kubectl create -f - <<-NODE
		apiVersion: v1
		kind: Node
		metadata: {name: node-$n, labels: {topology.kubernetes.io/zone: zone-$n, kubernetes.io/hostname: node-$n}}
	NODE
done >/dev/null

look='{{range .items}}{{.metadata.namespace}} {{.metadata.name}} {{.spec.restartPolicy}} {{.status.phase}} {{if .spec.nodeName}}bound{{else}}-{{end}} {{if .metadata.deletionTimestamp}}ending{{else}}-{{end}}{{"\n"}}{{end}}'

machines() {
	local n=0 namespace name policy phase bound ending now
	while :; do
		while read -r namespace name policy phase bound ending; do
			n=$((n + 1)) now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
			case $ending:$bound:$phase:$policy in
			ending:*) kubectl --namespace "$namespace" delete pod "$name" --grace-period 0 --force ;;
			-:-:*) echo "{\"apiVersion\": \"v1\", \"kind\": \"Binding\", \"metadata\": {\"name\": \"$name\"}, \"target\": {\"kind\": \"Node\", \"name\": \"node-$((n % 3 + 1))\"}}" | kubectl create --raw "/api/v1/namespaces/$namespace/pods/$name/binding" -f - ;;
			-:bound:Pending:Never) kubectl --namespace "$namespace" patch pod "$name" --subresource status --type merge --patch "{\"status\": {\"phase\": \"Succeeded\", \"startTime\": \"$now\"}}" ;;
			-:bound:Pending:*) kubectl --namespace "$namespace" patch pod "$name" --subresource status --type merge --patch "{\"status\": {\"phase\": \"Running\", \"startTime\": \"$now\", \"podIP\": \"10.1.$((n / 250)).$((n % 250 + 1))\", \"podIPs\": [{\"ip\": \"10.1.$((n / 250)).$((n % 250 + 1))\"}],
				\"conditions\": [{\"type\": \"Ready\", \"status\": \"True\", \"lastTransitionTime\": \"$now\"}, {\"type\": \"ContainersReady\", \"status\": \"True\", \"lastTransitionTime\": \"$now\"}]}}" ;;
			esac || true # it may have gone meanwhile
		done < <(kubectl get pods --all-namespaces --output "go-template=$look")
		sleep 0.3
	done
}

kube-controller-manager --kubeconfig "$KUBECONFIG" --leader-elect=false --secure-port 0 --use-service-account-credentials=false \
	--controllers '*,-node-lifecycle-controller,-taint-eviction-controller' >"$work/controllers.log" 2>&1 &
pids+=($!)
machines >"$work/machines.log" 2>&1 &
pids+=($!)

# What other checks have left is removed, by the controllers.
mapfile -t left < <(kubectl get namespaces --output name | grep '/shield' || true)
[ "${#left[@]}" = 0 ] || kubectl delete "${left[@]}" --timeout 120s >/dev/null

# --- the page

mkdir "$work/here"
cd "$work/here"
ln -s "$checkout/deploy" deploy
for key in database-url redis-url secret-key jwt-private-key jwt-public-key smtp-password; do
	echo "the $key" >$key
done
awk -v into="$work/block" '
	/^```text$/ { open = 1; n++; next }
	/^```$/ { open = 0 }
	open { print >(into "." n) }
' "$checkout/docs/kubernetes.md"
page=docs/kubernetes.md

serving() { # how many pods the Service leads to
	kubectl --namespace shield get endpointslices --selector kubernetes.io/service-name=shield \
		--output 'go-template={{range .items}}{{range .endpoints}}{{if .conditions.ready}}x{{end}}{{end}}{{end}}' | wc -c
}

three_serve() { [ "$(serving)" = 3 ]; }
one_may_go() { [ "$(kubectl --namespace shield get pdb shield --output 'go-template={{.status.disruptionsAllowed}}')" = 1 ]; }

watch() {
	while :; do
		serving >>"$work/serving" || true
		sleep 0.2
	done
}

# least FILE: the smallest number of it
least() { sort -n "$1" | head -n 1; }

# block N: runs it, as it stands.
block() {
	[ -s "$work/block.$1" ] || fail "$page" "block $1" 'there is none'
	bash -euo pipefail "$work/block.$1" >"$work/out" 2>&1 || {
		cat "$work/block.$1" "$work/out" >&2
		kubectl --namespace shield get pods,jobs,deployments >&2 || true
		fail "$page" "$(head -n 1 "$work/block.$1")" 'it failed'
	}
}

# number CONTAINED: the block with this command in it
number() {
	local found
	found=$(grep -lF -- "$1" "$work"/block.* | head -n 1) || fail "$page" "$1" 'is not on the page'
	echo "${found##*.}"
}

declare -A ran=()
run() {
	local n
	n=$(number "$1")
	block "$n"
	ran[$n]=1
}

run 'apply -k deploy/kubernetes/overlays/production'
until_true 60 three_serve || fail "$page" 'a first installation' "$(serving) pods serve"
ok "$page, a first installation" 'the autoscaler makes three replicas of one, and the Service leads to them'
watch &
watcher=$!
pids+=("$watcher")

run 'rollout restart deployment/shield'
kubectl --namespace shield rollout status deployment/shield --timeout 120s >/dev/null
ok "$page, new secrets" 'runs'
run 'delete job shield-migrate'
ok "$page, the next version" 'the Job is made again and waited for'
kubectl --namespace shield set env deployment/shield LOG_LEVEL=debug >/dev/null
kubectl --namespace shield rollout status deployment/shield --timeout 120s >/dev/null
run 'rollout undo deployment/shield'
kubectl --namespace shield rollout status deployment/shield --timeout 120s >/dev/null
ok "$page, a rollback" 'runs'
[ "$(least "$work/serving")" -ge 3 ] || fail 'Deployment shield' 'three rollouts' "at times $(least "$work/serving") pods served"
ok 'Deployment shield' "in three rollouts never less than 3 pods serve ($(wc -l <"$work/serving") times looked)"

evict() {
	echo "{\"apiVersion\": \"policy/v1\", \"kind\": \"Eviction\", \"metadata\": {\"name\": \"$1\", \"namespace\": \"shield\"}}" | kubectl create --raw "/api/v1/namespaces/shield/pods/$1/eviction" -f - 2>&1
}
until_true 60 one_may_go || fail 'PodDisruptionBudget shield' 'allows one' 'it does not'
mapfile -t pods < <(kubectl --namespace shield get pods --selector app.kubernetes.io/component=gateway --output name | cut -d / -f 2)
evict "${pods[0]}" >/dev/null || fail 'PodDisruptionBudget shield' 'one pod may be evicted' 'it may not'
! said=$(evict "${pods[1]}") || fail 'PodDisruptionBudget shield' 'no second pod may be evicted' "$said"
[[ $said == *'disruption budget'* ]] || fail 'PodDisruptionBudget shield' 'no second pod may be evicted' "$said"
ok 'PodDisruptionBudget shield' 'one pod may be evicted, and no second meanwhile'
until_true 60 three_serve || fail 'PodDisruptionBudget shield' 'another pod comes' "$(serving) pods serve"

: >"$work/serving"
run 'overlays/production-blue-green'
ok "$page, blue and green" 'a second version beside the first'
run 'blue-green.sh switch green'
[ "$(least "$work/serving")" -ge 3 ] || fail "$page, blue and green" 'none is without pods' "at times $(least "$work/serving") pods served"
ok 'overlays/production-blue-green, blue-green.sh' "made, switched and switched back, the Service always leads to 3 pods or more ($(wc -l <"$work/serving") times looked)"
kill "$watcher"

# Helm makes the same beside what made it before, so that goes first; the namespace and the Secret
# come as the page has them.
kubectl delete namespace shield --timeout 120s >/dev/null
sed '/apply -k\|rollout\|network.yaml/d' "$work/block.$(number 'apply -k deploy/kubernetes/overlays/production')" >"$work/block.0"
block 0
run 'helm upgrade --install shield'
kubectl --namespace shield rollout status deployment/shield --timeout 120s >/dev/null
ok "$page, with Helm" 'the migration is run to its end before, and the gateway rolls out'

for file in "$work"/block.*; do
	n=${file##*.}
	[ "$n" = 0 ] || [ -n "${ran[$n]:-}" ] || fail "$page" "$(head -n 1 "$file")" 'nothing runs it'
done
ok "$page" 'every command was run'
