#!/usr/bin/env bash
# Shows one of two versions that run side by side (overlays/production-blue-green).
#   blue-green.sh status             which colour has the traffic, and how both are
#   blue-green.sh switch COLOUR      give the traffic to blue or green
#   blue-green.sh back               give it to the other colour than now
# NAMESPACE (shield) and KUBECTL (kubectl) come from the environment. It changes nothing but the
# selector of the Service shield, and only to a colour that is complete: every replica that is
# wanted runs the newest template and is available, and there are as many as the colour before
# has, or the traffic would meet fewer pods than it needs.
set -euo pipefail

namespace=${NAMESPACE:-shield}
kubectl=${KUBECTL:-kubectl}
label=shield.materi.dev/colour

fail() {
	echo "blue-green: $*" >&2
	exit 1
}

get() { # get KIND/NAME TEMPLATE
	"$kubectl" --namespace "$namespace" get "$1" --output "go-template=$2"
}

active() {
	local colour
	colour=$(get service/shield "{{index .spec.selector \"$label\"}}") || exit 1
	case $colour in
	blue | green) echo "$colour" ;;
	*) fail "the Service shield has no colour: apply overlays/production-blue-green first" ;;
	esac
}

other() {
	case $1 in
	blue) echo green ;;
	green) echo blue ;;
	esac
}

# numbers COLOUR: generation, the generation that its controller has seen, replicas that are
# wanted, that run the newest template, that are available, that are there at all.
numbers() {
	get "deployment/shield-$1" '{{.metadata.generation}} {{or .status.observedGeneration 0}} {{or .spec.replicas 0}} {{or .status.updatedReplicas 0}} {{or .status.availableReplicas 0}} {{or .status.replicas 0}}'
}

complete() { # complete COLOUR LEAST
	local generation seen wanted updated available there
	read -r generation seen wanted updated available there <<<"$(numbers "$1")"
	[ -n "$there" ] || fail "shield-$1 cannot be read"
	[ "$seen" -ge "$generation" ] || fail "shield-$1 has changed and its controller has not seen it yet"
	[ "$wanted" -gt 0 ] || fail "shield-$1 is scaled to 0"
	[[ $updated -eq $wanted && $there -eq $wanted ]] || fail "shield-$1 is rolling out: $updated of $wanted are new, $there are there"
	[ "$available" -eq "$wanted" ] || fail "shield-$1 is not ready: $available of $wanted are available"
	[ "$wanted" -ge "$2" ] || fail "shield-$1 has $wanted replicas, and the colour before has $2: scale it first"
}

status() {
	local now colour generation seen wanted updated available there mark
	now=$(active)
	for colour in blue green; do
		read -r generation seen wanted updated available there <<<"$(numbers "$colour")"
		mark=''
		[ "$colour" != "$now" ] || mark=' has the traffic'
		echo "$colour: $available of $wanted available$mark"
	done
}

switch() {
	local to=$1 from _ serving
	from=$(active)
	[ "$from" != "$to" ] || { echo "$to has the traffic already"; return; }
	read -r _ _ _ _ serving _ <<<"$(numbers "$from")"
	complete "$to" "$serving"
	# The test makes the patch fail where somebody else has switched meanwhile. "~1" is "/".
	"$kubectl" --namespace "$namespace" patch service/shield --type json --patch "[
		{\"op\": \"test\", \"path\": \"/spec/selector/${label/\//~1}\", \"value\": \"$from\"},
		{\"op\": \"replace\", \"path\": \"/spec/selector/${label/\//~1}\", \"value\": \"$to\"}
	]" >/dev/null || fail "the Service was not changed"
	echo "$to has the traffic, $from is left as it is: blue-green.sh back undoes it"
}

case "${1:-} ${2:-}" in
'status ') status ;;
'switch blue' | 'switch green') switch "$2" ;;
'back ') switch "$(other "$(active)")" ;;
*)
	sed -n 's/^#   //p' "$0" >&2
	exit 2
	;;
esac
