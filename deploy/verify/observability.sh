#!/usr/bin/env bash
# Checks what watches the gateway: rules, dashboard and runbooks. Prometheus is Debian's,
# installed where that is possible. Grafana cannot be had from Debian: what it reads is held to a
# schema, and each query of its dashboard is asked of Prometheus.
#   deploy/verify/observability.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d "${TMPDIR:-/tmp}/shield-observability.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

# result ARTEFACT CHECK RESULT
result() {
	printf '%s\t%s\t%s\n' "$1" "$2" "$3"
	[ "$3" = ok ] || failed=1
}

# Debian would start the server that it installs, unless this file forbids it.
install_prometheus() {
	local policy=/usr/sbin/policy-rc.d status=0
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
	[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && touch "$work/policy"; }
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends prometheus; } >&2 || status=$?
	[ ! -e "$work/policy" ] || rm -f "$policy"
	return "$status"
}

if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null; then
	install_prometheus || {
		result deploy/prometheus 'Prometheus is there' 'FAIL: apt-get install prometheus'
		exit 1
	}
fi

# Artefact, check, and the test that is it.
checks='deploy/prometheus|promtool: configuration and rules are valid, alerts fire and stay silent|TestRulesPassPromtool
deploy/prometheus/tests|each alert is shown firing and silent|TestEveryAlertIsShownFiringAndSilent
deploy/prometheus/rules|metrics and labels are those of the code|TestQueriesNameMetricsAndLabelsOfTheCode
deploy/grafana/dashboards|its form is that of dashboards|TestDashboardIsGrafanas
deploy/grafana/dashboards|every metric is on it|TestEveryMetricIsOnTheDashboard
deploy/grafana/provisioning|one source, one directory|TestGrafanaIsProvisioned
deploy/runbooks|a page for each alert, with messages that are logged|TestEveryAlertHasItsRunbook
deploy/prometheus, grafana, runbooks|every query has data from a gateway that was used|TestEveryQueryHasDataAfterTheWalkthrough'

pattern=$(cut -d'|' -f3 <<<"$checks" | paste -sd'|')
go test -tags prometheus -count=1 -v -timeout 9m -run "^($pattern)\$" . >"$work/log" 2>&1 || cat "$work/log" >&2
while IFS='|' read -r artefact what name; do
	# A test that is not there does not fail: it must say that it passed.
	how=FAIL
	! grep -q "^--- PASS: $name " "$work/log" || how=ok
	result "$artefact" "$what" "$how"
done <<<"$checks"
printf 'deploy/grafana\tGrafana shows it\tnot run: Grafana cannot be had from Debian\n'
exit "$failed"
