# What must hold of everything that is rendered for a cluster, and what no general tool knows:
# the gateway's own paths, its times, where its secrets may be. The input is all objects of one
# rendering (conftest --combine).
package main

objects contains o if {
	some file in input
	not is_array(file.contents)
	o := file.contents
}

objects contains o if {
	some file in input
	is_array(file.contents)
	some o in file.contents
}

id(o) := sprintf("%s %s", [o.kind, o.metadata.name])

of_kind(kind) := {o | some o in objects; o.kind == kind}

# Pods, by what makes them.
pods[id(o)] := o.spec.template if {
	some o in objects
	o.kind in {"Deployment", "Job"}
}

pods[id(o)] := o.spec.jobTemplate.spec.template if {
	some o in objects
	o.kind == "CronJob"
}

containers[who] contains c if {
	some who, pod in pods
	some key in ["containers", "initContainers", "ephemeralContainers"]
	some c in pod.spec[key]
}

# --- who a pod is

deny contains sprintf("%s: a token of the API server is mounted", [who]) if {
	some who, pod in pods
	not pod.spec.automountServiceAccountToken == false
}

deny contains sprintf("%s: %s is not uid and gid 1000", [who, c.name]) if {
	some who, cs in containers
	some c in cs
	not is_1000(c.securityContext)
}

is_1000(s) if {
	s.runAsUser == 1000
	s.runAsGroup == 1000
}

deny contains sprintf("%s: fsGroup is not 1000, so that secrets cannot be read", [who]) if {
	some who, pod in pods
	not pod.spec.securityContext.fsGroup == 1000
}

deny contains sprintf("%s: volume %s is of the host", [who, v.name]) if {
	some who, pod in pods
	some v in pod.spec.volumes
	v.hostPath
}

deny contains sprintf("%s: volume %s has no sizeLimit", [who, v.name]) if {
	some who, pod in pods
	some v in pod.spec.volumes
	v.emptyDir
	not v.emptyDir.sizeLimit
}

deny contains sprintf("%s: the tag of %s can be moved", [who, c.image]) if {
	some who, cs in containers
	some c in cs
	not pinned(c.image)
}

pinned(image) if contains(image, "@sha256:")

pinned(image) if {
	tag := regex.find_n(`:[^:/]+$`, image, 1)[0]
	not tag in {":latest", ":main", ":dev"}
}

# --- rights

deny contains sprintf("%s: the gateway asks the API server nothing and needs no rules", [id(o)]) if {
	some o in of_kind("Role")
	o.metadata.name == "shield"
	count(o.rules) > 0
}

deny contains sprintf("%s: %s is too much", [id(o), what]) if {
	some o in of_kind("Role")
	some rule in o.rules
	some key in ["verbs", "resources", "apiGroups"]
	some what in rule[key]
	what in {"*", "secrets", "pods/exec", "escalate", "bind", "impersonate"}
}

deny contains sprintf("%s: rights in the whole cluster", [id(o)]) if {
	some o in objects
	o.kind in {"ClusterRole", "ClusterRoleBinding"}
}

# --- secrets

deny contains sprintf("%s: %s of %s comes from a Secret; give it as a file", [who, e.name, c.name]) if {
	some who, cs in containers
	some c in cs
	some e in c.env
	e.valueFrom.secretKeyRef
}

deny contains sprintf("%s: the environment of %s comes from a Secret; give it as files", [who, c.name]) if {
	some who, cs in containers
	some c in cs
	some e in c.envFrom
	e.secretRef
}

secret_name(name) if regex.match(`(PASSWORD|SECRET|TOKEN|PRIVATE_KEY|SECRET_KEY|DATABASE_URL|REDIS_URL)$`, name)

deny contains sprintf("%s: %s is a secret in clear", [who, e.name]) if {
	some who, cs in containers
	some c in cs
	some e in c.env
	secret_name(e.name)
}

deny contains sprintf("%s: %s is a secret in clear", [id(o), name]) if {
	some o in of_kind("ConfigMap")
	some name, _ in o.data
	secret_name(name)
}

deny contains sprintf("%s: looks like a secret in clear", [id(o)]) if {
	some o in of_kind("ConfigMap")
	some value in o.data
	regex.match(`-----BEGIN [A-Z ]*PRIVATE KEY-----|AGE-SECRET-KEY-|(postgres|postgresql|redis|rediss)://[^/@\s$]*:[^/@\s$]+@`, value)
}

deny contains sprintf("%s: no Secret is rendered; its values are given by an ExternalSecret or by hand", [id(o)]) if {
	some o in of_kind("Secret")
}

deny contains sprintf("%s: everybody on the node can read the secrets (mode %d)", [who, mode]) if {
	some who, pod in pods
	some v in pod.spec.volumes
	mode := object.get(v.secret, "defaultMode", 420)  # 0644
	not mode in {288, 256}  # 0440, 0400
}

# --- what is asked for is there

deny contains sprintf("%s: there is no ConfigMap %s", [who, name]) if {
	some who, pod in pods
	some name in configmaps(pod)
	not name in {o.metadata.name | some o in of_kind("ConfigMap")}
}

configmaps(pod) := names if {
	from_volumes := {v.configMap.name | some v in pod.spec.volumes}
	from_environment := {e.configMapRef.name | some c in pod.spec.containers; some e in c.envFrom}
	names := from_volumes | from_environment
}

deny contains sprintf("%s: its ConfigMap %s has no hash in its name, so that a change is no rollout", [who, name]) if {
	some who, pod in pods
	startswith(who, "Deployment ")
	some name in configmaps(pod)
	not regex.match(`-[bcdfghkmt2456789]{10}$`, name)
}

deny contains sprintf("%s: selects no pod", [id(o)]) if {
	some o in of_kind("Service")
	count({who | some who, pod in pods; selects(o.spec.selector, pod.metadata.labels)}) == 0
}

deny contains sprintf("%s: selects no pod", [id(o)]) if {
	some o in of_kind("PodDisruptionBudget")
	count({who | some who, pod in pods; selects(o.spec.selector.matchLabels, pod.metadata.labels)}) == 0
}

selects(selector, labels) if {
	every key, value in selector {
		labels[key] == value
	}
}

deny contains sprintf("%s: scales nothing", [id(o)]) if {
	some o in of_kind("HorizontalPodAutoscaler")
	not o.spec.scaleTargetRef.name in {d.metadata.name | some d in of_kind("Deployment")}
}

deny contains sprintf("%s: has a number of replicas and an autoscaler", [id(d)]) if {
	some d in of_kind("Deployment")
	some o in of_kind("HorizontalPodAutoscaler")
	o.spec.scaleTargetRef.name == d.metadata.name
	d.spec.replicas
}

# --- times

# What the gateway needs after SIGTERM: server.timeouts.grace and drain of files/shield.yaml, which a
# test compares with this, and 5 s to finish.
after_sigterm := 35

deny contains sprintf("%s: %d s are too few to end in; %d are needed", [id(d), period, need]) if {
	some d in of_kind("Deployment")
	some c in d.spec.template.spec.containers
	period := object.get(d.spec.template.spec, "terminationGracePeriodSeconds", 30)
	need := c.lifecycle.preStop.sleep.seconds + after_sigterm
	period < need
}

deny contains sprintf("%s: nothing keeps the listener open while the endpoints forget the pod", [id(d)]) if {
	some d in of_kind("Deployment")
	some c in d.spec.template.spec.containers
	not sleeps(c)
}

# A comparison with what is not there is neither true nor false, so it stands in a rule of its own.
sleeps(c) if c.lifecycle.preStop.sleep.seconds > 0

deny contains sprintf("%s: a rollout takes away what serves", [id(d)]) if {
	some d in of_kind("Deployment")
	not d.spec.strategy.rollingUpdate.maxUnavailable == 0
}

probe_paths := {"startupProbe": "/health/", "livenessProbe": "/health/", "readinessProbe": "/ready/"}

deny contains sprintf("%s: %s does not ask %s on the private listener", [id(d), probe, path]) if {
	some d in of_kind("Deployment")
	some c in d.spec.template.spec.containers
	some probe, path in probe_paths
	not asks(c, probe, path)
}

asks(c, probe, path) if {
	c[probe].httpGet.path == path
	c[probe].httpGet.port == "admin"
}

# --- what the world reaches

exposed[id(o)] contains p.path if {
	some o in of_kind("Ingress")
	some rule in o.spec.rules
	some p in rule.http.paths
}

exposed[id(o)] contains m.path.value if {
	some o in of_kind("HTTPRoute")
	some rule in o.spec.rules
	some m in rule.matches
}

deny contains sprintf("%s: %s leads to %s", [who, path, private]) if {
	some who, paths in exposed
	some path in paths
	some private in ["/health", "/ready", "/metrics"]
	covers(path, private)
}

# covers says whether a prefix leads to a path or to what is below it.
covers(prefix, path) if trim_right(prefix, "/") == path

covers(prefix, path) if startswith(path, concat("", [trim_right(prefix, "/"), "/"]))

covers(prefix, path) if startswith(prefix, concat("", [path, "/"]))

deny contains sprintf("%s: %s is served without TLS", [id(o), host]) if {
	some o in of_kind("Ingress")
	some rule in o.spec.rules
	host := object.get(rule, "host", "any host")
	not host in {h | some t in o.spec.tls; t.secretName; some h in t.hosts}
}

deny contains sprintf("%s: plain HTTP is not sent on to HTTPS", [id(o)]) if {
	some o in of_kind("Ingress")
	not o.metadata.annotations["nginx.ingress.kubernetes.io/force-ssl-redirect"] == "true"
}

deny contains sprintf("%s: answers have no Strict-Transport-Security", [id(o)]) if {
	some o in of_kind("HTTPRoute")
	some rule in o.spec.rules
	not "Strict-Transport-Security" in {h.name | some f in rule.filters; some h in f.responseHeaderModifier.set}
}

deny contains sprintf("%s: the port of probes and metrics has an address in the cluster", [id(o)]) if {
	some o in of_kind("Service")
	some p in o.spec.ports
	p.port == 9000
	not o.spec.clusterIP == "None"
}

deny contains sprintf("%s: %s is reached from outside of the cluster", [id(o), o.spec.type]) if {
	some o in of_kind("Service")
	not o.spec.type == "ClusterIP"
}

# --- the network

deny contains "no NetworkPolicy denies everything by default" if {
	count({o | some o in of_kind("NetworkPolicy"); denies_all(o)}) == 0
}

denies_all(o) if {
	o.spec.podSelector == {}
	{t | some t in o.spec.policyTypes} == {"Ingress", "Egress"}
	not o.spec.ingress
	not o.spec.egress
}

deny contains sprintf("%s: a rule for everybody", [id(o)]) if {
	some o in of_kind("NetworkPolicy")
	some side in [["ingress", "from"], ["egress", "to"]]
	some rule in o.spec[side[0]]
	count(object.get(rule, side[1], [])) == 0
}

deny contains sprintf("%s: a rule for every port", [id(o)]) if {
	some o in of_kind("NetworkPolicy")
	some side in ["ingress", "egress"]
	some rule in o.spec[side]
	count(object.get(rule, "ports", [])) == 0
}

deny contains sprintf("%s: lets in from addresses, not from pods", [id(o)]) if {
	some o in of_kind("NetworkPolicy")
	some rule in o.spec.ingress
	some peer in rule.from
	peer.ipBlock
}

inner := {"0.0.0.0/0": {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"}, "::/0": {"fc00::/7", "fe80::/10"}}

deny contains sprintf("%s: %s does not except %s", [id(o), peer.ipBlock.cidr, block]) if {
	some o in of_kind("NetworkPolicy")
	some rule in o.spec.egress
	some peer in rule.to
	some block in inner[peer.ipBlock.cidr]
	not block in object.get(peer.ipBlock, "except", [])
}

allowed_ports := {53, 443, 587, 5432, 6379, 8080, 15012}

deny contains sprintf("%s: lets out to port %v", [id(o), port]) if {
	some o in of_kind("NetworkPolicy")
	some rule in o.spec.egress
	some p in rule.ports
	port := object.get(p, "endPort", object.get(p, "port", "any"))
	not port in allowed_ports
}

# --- the namespace

deny contains "there is not one Namespace" if count(of_kind("Namespace")) != 1

deny contains sprintf("%s: Pod Security %s is not restricted", [id(o), mode]) if {
	some o in of_kind("Namespace")
	some mode in ["enforce", "audit", "warn"]
	not o.metadata.labels[sprintf("pod-security.kubernetes.io/%s", [mode])] == "restricted"
}

deny contains sprintf("%s: is in namespace %s", [id(o), object.get(o.metadata, "namespace", "of nobody")]) if {
	some o in objects
	o.kind != "Namespace"
	some n in of_kind("Namespace")
	object.get(o.metadata, "namespace", "") != n.metadata.name
}
