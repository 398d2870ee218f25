#!/usr/bin/env bash
# Renders the chart, which is the one truth, into the files that kustomize builds on: base/ and
# components/, and secret.template.yaml. deploy/verify/kubernetes.sh fails while they are not what this
# would write.
#   deploy/kubernetes/render.sh [INTO]
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/verify/kubernetes/tools.sh
into=${1:-deploy/kubernetes}
mkdir -p "$into/chart/files/backup"
chart=deploy/kubernetes/chart
helm=$(tool "$helm_module")

# render FILE TEMPLATE [OPTION...]
render() {
	local file=$into/$1 template=templates/$2
	shift 2
	mkdir -p "${file%/*}"
	{
		echo "# Rendered from chart/$template by render.sh: change it there."
		"$helm" template shield "$chart" --kube-version "$kube_version" --namespace shield --set namespace.create=true,hashNames=false --show-only "$template" "$@" | sed '/^# Source: /d'
	} >"$file.new"
	mv "$file.new" "$file" # whole or not at all
}

for part in access deployment disruption ingress migrate namespace network service; do
	render "base/$part.yaml" "base/$part.yaml"
done
cp "$chart/files/shield.yaml" "$into/base/shield.yaml"
{
	echo "# Rendered from chart/values.yaml by render.sh: change it there."
	"$helm" template shield "$chart" --kube-version "$kube_version" --set hashNames=false --show-only templates/base/config.yaml | go run ./deploy/verify/kubernetes data shield-env
} >"$into/base/shield.env"

component() { # NAME FILE OPTION
	render "components/$1/$2.yaml" "components/$1/$2.yaml" --set "$3=true"
}
component autoscaling autoscaler autoscaling.enabled
component backup backup backup.enabled
component external-secret external-secret externalSecret.enabled
component gateway-api route gatewayAPI.enabled
component istio mesh istio.enabled
component kyverno policies kyverno.enabled
component monitoring monitor serviceMonitor.enabled
component blue-green colours blueGreen.enabled
for script in backup database; do
	cp "deploy/backup/$script.sh" "$into/chart/files/backup/$script.sh" # a chart cannot read beside itself
	cp "deploy/backup/$script.sh" "$into/components/backup/$script.sh"
done
"$helm" template shield "$chart" --kube-version "$kube_version" --set hashNames=false,backup.enabled=true --show-only templates/components/backup/script.yaml |
	go run ./deploy/verify/kubernetes value shield-backup recipients >"$into/components/backup/recipients"
for part in base/deployment base/disruption components/autoscaling/autoscaler; do
	render "components/blue-green/${part##*/}.yaml" "$part.yaml" --set blueGreen.enabled=true,autoscaling.enabled=true
done
render secret.template.yaml secret.yaml --set secret.template=true
