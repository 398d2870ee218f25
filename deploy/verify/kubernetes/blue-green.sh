#!/usr/bin/env bash
# Tests deploy/kubernetes/blue-green.sh against the API server of KUBECONFIG, with kubectl KUBECTL:
#   deploy/verify/kubernetes/blue-green.sh MANIFESTS
# It acts as an account that has the Role shield-switch and nothing else. There are no controllers,
# so the state of the Deployments is written by hand.
set -euo pipefail
cd "$(dirname "$0")/../../.."
export NAMESPACE=shield

admin() { "$KUBECTL" --namespace "$NAMESPACE" "$@"; }

admin apply -f "$1" >/dev/null
admin get serviceaccount releaser >/dev/null 2>&1 || admin create serviceaccount releaser >/dev/null
admin get rolebinding releaser >/dev/null 2>&1 || admin create rolebinding releaser --role shield-switch --serviceaccount shield:releaser >/dev/null

as=$(mktemp)
trap 'rm -f "$as"' EXIT
printf '#!/bin/sh\nexec "%s" --as system:serviceaccount:shield:releaser "$@"\n' "$KUBECTL" >"$as"
chmod +x "$as"

script() { KUBECTL=$as deploy/kubernetes/blue-green.sh "$@" 2>&1; }

fail() {
	echo "FAIL: $*" >&2
	exit 1
}

# state COLOUR WANTED UPDATED AVAILABLE [LAG]: what controllers would write.
state() {
	local generation
	admin scale "deployment/shield-$1" --replicas "$2" >/dev/null
	generation=$(admin get "deployment/shield-$1" --output 'go-template={{.metadata.generation}}')
	admin patch "deployment/shield-$1" --subresource status --type merge --patch \
		"{\"status\": {\"observedGeneration\": $((generation - ${5:-0})), \"replicas\": $2, \"updatedReplicas\": $3, \"readyReplicas\": $4, \"availableReplicas\": $4}}" >/dev/null
}

shows() {
	local colour
	colour=$(admin get service/shield --output 'go-template={{index .spec.selector "shield.materi.dev/colour"}}')
	[ "$colour" = "$1" ] || fail "the Service shows $colour, want $1"
}

# refuses REASON ARGUMENT...
refuses() {
	local reason=$1 said
	shift
	! said=$(script "$@") || fail "blue-green.sh $* went through: $said"
	[[ $said == *"$reason"* ]] || fail "blue-green.sh $* said: $said; want: $reason"
	shows blue
}

does() {
	local said
	said=$(script "$@") || fail "blue-green.sh $*: $said"
	echo "$said"
}

shows blue
state blue 3 3 3
state green 3 3 2
refuses 'not ready: 2 of 3' switch green
state green 3 1 3
refuses 'rolling out' switch green
state green 3 3 3 1
refuses 'has not seen it' switch green
state green 2 2 2
refuses 'scale it first' switch green
state green 0 0 0
refuses 'scaled to 0' switch green
refuses 'switch COLOUR' switch red

state green 3 3 3
[[ $(does status) == *'blue: 3 of 3 available has the traffic'* ]] || fail "status: $(script status)"
[[ $(does switch green) == *'green has the traffic'* ]] || fail 'switch says nothing'
shows green
[[ $(does switch green) == *'already'* ]] || fail 'a second switch is no error'
does back >/dev/null
shows blue

# A colour that has the traffic and broke down does not hold up the way back.
does switch green >/dev/null
state green 3 3 0
does back >/dev/null
shows blue

# Two at once: one patch must lose, since what it was based on is gone.
state green 3 3 3
admin patch service/shield --type json --patch '[{"op": "replace", "path": "/spec/selector/shield.materi.dev~1colour", "value": "none"}]' >/dev/null
! script switch green >/dev/null || fail 'it switched a Service that shows neither'
admin patch service/shield --type json --patch '[{"op": "replace", "path": "/spec/selector/shield.materi.dev~1colour", "value": "blue"}]' >/dev/null

# The account may do this and nothing else.
for what in 'delete deployments' 'get secrets' 'patch deployments' 'list services'; do
	# shellcheck disable=SC2086
	[ "$("$as" auth can-i $what --namespace shield 2>/dev/null)" = no ] || fail "the Role allows to $what"
done
