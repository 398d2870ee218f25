# Each rule refuses what it is there for: one change to what is good, one reason. A case whose rule
# is silent is itself refused:
#   conftest test --policy deploy/kubernetes/policy --namespace cases FILE
# of any file. It is no test for conftest verify, which gives it 5 s, too few on a busy machine.
package cases

import data.main

pod_spec := {
	"automountServiceAccountToken": false,
	"securityContext": {"fsGroup": 1000},
	"terminationGracePeriodSeconds": 45,
	"containers": [{
		"name": "shield",
		"image": "gcr.io/materi/shield:1.0.0",
		"securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
		"env": [{"name": "DATABASE_URL_FILE", "value": "/run/secrets/shield/database-url"}],
		"envFrom": [{"configMapRef": {"name": "shield-env-bcdfghkmt2"}}],
		"lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
		"startupProbe": {"httpGet": {"path": "/health/", "port": "admin"}},
		"livenessProbe": {"httpGet": {"path": "/health/", "port": "admin"}},
		"readinessProbe": {"httpGet": {"path": "/ready/", "port": "admin"}},
	}],
	"volumes": [
		{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
		{"name": "secrets", "secret": {"secretName": "shield-secrets", "defaultMode": 288}},
	],
}

restricted := {
	"pod-security.kubernetes.io/enforce": "restricted",
	"pod-security.kubernetes.io/audit": "restricted",
	"pod-security.kubernetes.io/warn": "restricted",
}

labels := {"app.kubernetes.io/name": "shield"}

good := {
	"namespace": {"kind": "Namespace", "metadata": {"name": "shield", "labels": restricted}},
	"role": {"kind": "Role", "metadata": {"name": "shield", "namespace": "shield"}, "rules": []},
	"env": {"kind": "ConfigMap", "metadata": {"name": "shield-env-bcdfghkmt2", "namespace": "shield"}, "data": {"LOG_LEVEL": "info"}},
	"deployment": {"kind": "Deployment", "metadata": {"name": "shield", "namespace": "shield"}, "spec": {
		"strategy": {"rollingUpdate": {"maxUnavailable": 0}},
		"template": {"metadata": {"labels": labels}, "spec": pod_spec},
	}},
	"service": {"kind": "Service", "metadata": {"name": "shield", "namespace": "shield"}, "spec": {"type": "ClusterIP", "selector": labels, "ports": [{"port": 80}]}},
	"scaler": {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "shield", "namespace": "shield"}, "spec": {"scaleTargetRef": {"name": "shield"}}},
	"budget": {"kind": "PodDisruptionBudget", "metadata": {"name": "shield", "namespace": "shield"}, "spec": {"selector": {"matchLabels": labels}}},
	"ingress": {
		"kind": "Ingress",
		"metadata": {"name": "shield", "namespace": "shield", "annotations": {"nginx.ingress.kubernetes.io/force-ssl-redirect": "true"}},
		"spec": {"tls": [{"hosts": ["a.test"], "secretName": "s"}], "rules": [{"host": "a.test", "http": {"paths": [{"path": "/auth"}]}}]},
	},
	"route": {"kind": "HTTPRoute", "metadata": {"name": "shield", "namespace": "shield"}, "spec": {"rules": [{
		"matches": [{"path": {"value": "/auth"}}],
		"filters": [{"responseHeaderModifier": {"set": [{"name": "Strict-Transport-Security"}]}}],
	}]}},
	"deny": {"kind": "NetworkPolicy", "metadata": {"name": "default-deny", "namespace": "shield"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}},
	"network": {"kind": "NetworkPolicy", "metadata": {"name": "shield", "namespace": "shield"}, "spec": {
		"podSelector": {"matchLabels": labels},
		"ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 8000}]}],
		"egress": [{"to": [{"ipBlock": {"cidr": "::/0", "except": ["fc00::/7", "fe80::/10"]}}], "ports": [{"port": 443}]}],
	}},
}

as_input(objs) := [{"path": "all.yaml", "contents": o} | some o in objs]

reasons(patches) := all if {
	all := main.deny with input as as_input(json.patch(good, patches))
}

change(op, path, value) := [{"op": op, "path": path, "value": value}]

deny contains sprintf("what is good is refused: %s", [r]) if some r in reasons([])

pod := "/deployment/spec/template/spec"

container := sprintf("%s/containers/0", [pod])

cases := [
	["token", change("replace", sprintf("%s/automountServiceAccountToken", [pod]), true), "token of the API server"],
	["token by default", [{"op": "remove", "path": sprintf("%s/automountServiceAccountToken", [pod])}], "token of the API server"],
	["root", change("replace", sprintf("%s/securityContext/runAsUser", [container]), 0), "not uid and gid 1000"],
	["fsGroup", change("replace", sprintf("%s/securityContext/fsGroup", [pod]), 0), "fsGroup"],
	["hostPath", change("add", sprintf("%s/volumes/0", [pod]), {"name": "h", "hostPath": {"path": "/"}}), "of the host"],
	["no size", change("add", sprintf("%s/volumes/0", [pod]), {"name": "h", "emptyDir": {"medium": "Memory"}}), "no sizeLimit"],
	["latest", change("replace", sprintf("%s/image", [container]), "gcr.io/materi/shield:latest"), "can be moved"],
	["no tag", change("replace", sprintf("%s/image", [container]), "registry:5000/shield"), "can be moved"],
	["init container", change("add", sprintf("%s/initContainers", [pod]), [{"name": "i", "image": "x:latest"}]), "can be moved"],
	["rights", change("replace", "/role/rules", [{"verbs": ["get"]}]), "needs no rules"],
	["star", change("add", "/other", {"kind": "Role", "metadata": {"name": "x", "namespace": "shield"}, "rules": [{"verbs": ["*"]}]}), "too much"],
	["secrets", change("add", "/other", {"kind": "Role", "metadata": {"name": "x", "namespace": "shield"}, "rules": [{"resources": ["secrets"]}]}), "too much"],
	["cluster", change("add", "/other", {"kind": "ClusterRole", "metadata": {"name": "x", "namespace": "shield"}}), "whole cluster"],
	["secret in a variable", change("add", sprintf("%s/env/0", [container]), {"name": "X", "valueFrom": {"secretKeyRef": {"name": "s"}}}), "as a file"],
	["secrets as variables", change("add", sprintf("%s/envFrom/0", [container]), {"secretRef": {"name": "s"}}), "as files"],
	["value", change("add", sprintf("%s/env/0", [container]), {"name": "DATABASE_URL", "value": "x"}), "secret in clear"],
	["value in a ConfigMap", change("add", "/env/data/SMTP_PASSWORD", "x"), "secret in clear"],
	["URL with a password", change("add", "/env/data/OTHER", "postgres://u:p@db/shield"), "secret in clear"],
	["key in a ConfigMap", change("add", "/env/data/OTHER", "-----BEGIN RSA PRIVATE KEY-----"), "secret in clear"],
	["Secret", change("add", "/other", {"kind": "Secret", "metadata": {"name": "x", "namespace": "shield"}}), "no Secret is rendered"],
	["mode", change("replace", sprintf("%s/volumes/1/secret/defaultMode", [pod]), 420), "can read the secrets"],
	["no mode", [{"op": "remove", "path": sprintf("%s/volumes/1/secret/defaultMode", [pod])}], "can read the secrets"],
	["no ConfigMap", [{"op": "remove", "path": "/env"}], "there is no ConfigMap"],
	["no hash", change("replace", sprintf("%s/envFrom/0/configMapRef/name", [container]), "shield-env"), "no hash"],
	["service", change("replace", "/service/spec/selector", {"app": "other"}), "selects no pod"],
	["budget", change("replace", "/budget/spec/selector/matchLabels", {"app": "other"}), "selects no pod"],
	["scaler", change("replace", "/scaler/spec/scaleTargetRef/name", "other"), "scales nothing"],
	["two owners", change("add", "/deployment/spec/replicas", 3), "has a number of replicas"],
	["end", change("replace", sprintf("%s/terminationGracePeriodSeconds", [pod]), 30), "too few to end in"],
	["end by default", [{"op": "remove", "path": sprintf("%s/terminationGracePeriodSeconds", [pod])}], "30 s are too few"],
	["longer sleep", change("replace", sprintf("%s/lifecycle/preStop/sleep/seconds", [container]), 15), "too few to end in"],
	["no sleep", [{"op": "remove", "path": sprintf("%s/lifecycle", [container])}], "listener open"],
	["unavailable", change("replace", "/deployment/spec/strategy/rollingUpdate/maxUnavailable", 1), "takes away what serves"],
	["liveness asks others", change("replace", sprintf("%s/livenessProbe/httpGet/path", [container]), "/ready/"), "does not ask /health/"],
	["public probe", change("replace", sprintf("%s/readinessProbe/httpGet/port", [container]), "http"), "does not ask /ready/"],
	["no startup", [{"op": "remove", "path": sprintf("%s/startupProbe", [container])}], "startupProbe"],
	["root path", change("replace", "/ingress/spec/rules/0/http/paths/0/path", "/"), "leads to /metrics"],
	["metrics", change("replace", "/ingress/spec/rules/0/http/paths/0/path", "/metrics/"), "leads to /metrics"],
	["below ready", change("replace", "/route/spec/rules/0/matches/0/path/value", "/ready/x"), "leads to /ready"],
	["no TLS", change("replace", "/ingress/spec/tls", []), "without TLS"],
	["any host", [{"op": "remove", "path": "/ingress/spec/rules/0/host"}], "any host is served without TLS"],
	["TLS for another host", change("replace", "/ingress/spec/tls/0/hosts", ["b.test"]), "a.test is served without TLS"],
	["no redirect", change("replace", "/ingress/metadata/annotations", {}), "not sent on to HTTPS"],
	["no HSTS", change("replace", "/route/spec/rules/0/filters", []), "Strict-Transport-Security"],
	["metrics in the cluster", change("replace", "/service/spec/ports/0/port", 9000), "address in the cluster"],
	["load balancer", change("replace", "/service/spec/type", "LoadBalancer"), "from outside"],
	["no deny", [{"op": "remove", "path": "/deny"}], "by default"],
	["deny one way", change("replace", "/deny/spec/policyTypes", ["Ingress"]), "by default"],
	["allow all", change("add", "/deny/spec/egress", [{}]), "by default"],
	["from everybody", change("replace", "/network/spec/ingress/0/from", []), "for everybody"],
	["every port", [{"op": "remove", "path": "/network/spec/egress/0/ports"}], "for every port"],
	["from addresses", change("replace", "/network/spec/ingress/0/from/0", {"ipBlock": {"cidr": "0.0.0.0/0"}}), "not from pods"],
	["metadata service", change("replace", "/network/spec/egress/0/to/0", {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}), "does not except 169.254.0.0/16"],
	["no exception", change("replace", "/network/spec/egress/0/to/0", {"ipBlock": {"cidr": "0.0.0.0/0"}}), "does not except 10.0.0.0/8"],
	["another port", change("replace", "/network/spec/egress/0/ports/0/port", 22), "lets out to port 22"],
	["range of ports", change("add", "/network/spec/egress/0/ports/0/endPort", 65535), "lets out to port 65535"],
	["any port", change("replace", "/network/spec/egress/0/ports/0", {"protocol": "TCP"}), "lets out to port any"],
	["two namespaces", change("add", "/other", {"kind": "Namespace", "metadata": {"name": "x", "labels": restricted}}), "not one Namespace"],
	["baseline", change("replace", "/namespace/metadata/labels/pod-security.kubernetes.io~1enforce", "baseline"), "not restricted"],
	["elsewhere", change("replace", "/role/metadata/namespace", "kube-system"), "is in namespace"],
]

deny contains sprintf("no rule refuses: %s", [name]) if {
	some [name, patches, reason] in cases
	not refused(patches, reason)
}

refused(patches, reason) if {
	some r in reasons(patches)
	contains(r, reason)
}
