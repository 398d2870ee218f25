package kubernetes_test

import (
	"net/netip"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// No network enforces policies here, so what they say is worked out as the API describes it:
// what a pod is selected for is denied but for what a rule of any of those policies allows.

type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

func (s selector) matches(labels map[string]string) bool {
	for key, value := range s.MatchLabels {
		if labels[key] != value {
			return false
		}
	}
	return true
}

type peer struct {
	NamespaceSelector *selector `yaml:"namespaceSelector"`
	PodSelector       *selector `yaml:"podSelector"`
	IPBlock           *struct {
		CIDR   netip.Prefix
		Except []netip.Prefix
	} `yaml:"ipBlock"`
}

type rule struct {
	From, To []peer
	Ports    []struct {
		Protocol string
		Port     int
	}
}

type policy struct {
	PodSelector     selector `yaml:"podSelector"`
	PolicyTypes     []string `yaml:"policyTypes"`
	Ingress, Egress []rule
}

// end is one end of a connection: a pod, or an address outside of the cluster.
type end struct {
	namespace string
	labels    map[string]string
	address   string
}

const ours = "shield"

func (p peer) matches(e end) bool {
	if p.IPBlock != nil {
		address := netip.MustParseAddr(e.address)
		return p.IPBlock.CIDR.Contains(address) && !slices.ContainsFunc(p.IPBlock.Except, func(b netip.Prefix) bool { return b.Contains(address) })
	}
	if e.namespace == "" {
		return false
	}
	inNamespace := e.namespace == ours
	if p.NamespaceSelector != nil {
		inNamespace = p.NamespaceSelector.matches(map[string]string{"kubernetes.io/metadata.name": e.namespace})
	}
	return inNamespace && (p.PodSelector == nil || p.PodSelector.matches(e.labels))
}

// allows says whether policies let a pod of ours talk to the other end, in one direction.
func allows(policies []policy, direction string, pod, other end, protocol string, port int) bool {
	if pod.namespace != ours {
		return true
	}
	selected := false
	for _, p := range policies {
		if !p.PodSelector.matches(pod.labels) || !slices.Contains(p.PolicyTypes, direction) {
			continue
		}
		selected = true
		rules := p.Ingress
		if direction == "Egress" {
			rules = p.Egress
		}
		for _, r := range rules {
			peers := slices.Concat(r.From, r.To)
			for _, at := range r.Ports {
				if at.Port == port && at.Protocol == protocol && (len(peers) == 0 || slices.ContainsFunc(peers, func(p peer) bool { return p.matches(other) })) {
					return true
				}
			}
		}
	}
	return !selected
}

// network reads the policies of files.
func network(t *testing.T, files ...string) []policy {
	t.Helper()
	var all []policy
	for _, file := range files {
		for _, doc := range documents(t, file) {
			var o struct {
				Kind string
				Spec yaml.Node
			}
			if err := doc.Decode(&o); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if o.Kind != "NetworkPolicy" {
				continue
			}
			var p policy
			if err := o.Spec.Decode(&p); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			all = append(all, p)
		}
	}
	return all
}

func labelled(namespace, key, value string) end {
	return end{namespace, map[string]string{key: value}, "10.2.0.1"}
}

func TestNetworkLetsThroughWhatIsNeededAlone(t *testing.T) {
	const name = "app.kubernetes.io/name"
	pod := func(file, kind, name string) end {
		o := find(t, file, kind, name)
		labels := o.Spec.Template.Metadata.Labels
		if kind == "CronJob" {
			labels = o.Spec.JobTemplate.Spec.Template.Metadata.Labels
		}
		return end{ours, labels, "10.1.0.1"}
	}
	ends := map[string]end{
		"gateway":        pod("base/deployment.yaml", "Deployment", "shield"),
		"migration":      pod("base/migrate.yaml", "Job", "shield-migrate"),
		"backup":         pod("components/backup/backup.yaml", "CronJob", "shield-backup"),
		"ingress":        labelled("ingress-nginx", name, "ingress-nginx"),
		"Gateway":        labelled("gateway", name, "envoy"),
		"istiod":         labelled("istio-system", "app", "istiod"),
		"prometheus":     labelled("monitoring", name, "prometheus"),
		"dns":            labelled("kube-system", "k8s-app", "kube-dns"),
		"postgres":       labelled("data", name, "postgresql"),
		"redis":          labelled("data", name, "redis"),
		"upstream":       labelled("materi", "shield.materi.dev/upstream", "true"),
		"neighbour":      labelled("materi", name, "neighbour"),
		"false ingress":  labelled("materi", name, "ingress-nginx"),
		"false postgres": labelled("materi", name, "postgresql"),
		"internet":       {address: "203.0.113.7"},
		"internet v6":    {address: "2001:db8::7"},
		"metadata":       {address: "169.254.169.254"},
		"node":           {address: "10.0.0.4"},
		"private v6":     {address: "fd00::1"},
	}
	base := []string{"base/network.yaml"}
	mesh := []string{"base/network.yaml", "components/gateway-api/route.yaml", "components/istio/mesh.yaml"}
	for _, c := range []struct {
		files    []string
		from, to string
		port     int
		want     bool
	}{
		{base, "ingress", "gateway", 8000, true},
		{base, "ingress", "gateway", 9000, false},
		{base, "prometheus", "gateway", 9000, true},
		{base, "prometheus", "gateway", 8000, false},
		{base, "neighbour", "gateway", 8000, false},
		{base, "neighbour", "gateway", 9000, false},
		{base, "false ingress", "gateway", 8000, false},
		{base, "Gateway", "gateway", 8000, false},
		{base, "internet", "gateway", 8000, false},
		{base, "gateway", "gateway", 8000, false},
		{base, "backup", "gateway", 8000, false},
		{base, "prometheus", "backup", 9000, false},
		{base, "ingress", "migration", 8000, false},

		{base, "gateway", "dns", 53, true},
		{base, "gateway", "postgres", 5432, true},
		{base, "gateway", "false postgres", 5432, false},
		{base, "gateway", "redis", 6379, true},
		{base, "gateway", "redis", 5432, false},
		{base, "gateway", "upstream", 8080, true},
		{base, "gateway", "upstream", 22, false},
		{base, "gateway", "neighbour", 8080, false},
		{base, "gateway", "internet", 443, true},
		{base, "gateway", "internet v6", 443, true},
		{base, "gateway", "internet", 587, true},
		{base, "gateway", "internet", 80, false},
		{base, "gateway", "internet", 5432, false},
		{base, "gateway", "metadata", 443, false},
		{base, "gateway", "node", 443, false},
		{base, "gateway", "private v6", 443, false},
		{base, "gateway", "neighbour", 443, false},
		{base, "gateway", "istiod", 15012, false},

		{base, "migration", "dns", 53, true},
		{base, "migration", "postgres", 5432, true},
		{base, "migration", "redis", 6379, false},
		{base, "migration", "internet", 443, false},
		{base, "backup", "dns", 53, true},
		{base, "backup", "postgres", 5432, true},
		{base, "backup", "internet", 443, false},
		{base, "backup", "upstream", 8080, false},

		{mesh, "Gateway", "gateway", 8000, true},
		{mesh, "Gateway", "gateway", 9000, false},
		{mesh, "gateway", "istiod", 15012, true},
		{mesh, "backup", "istiod", 15012, false},
		{mesh, "neighbour", "gateway", 8000, false},
	} {
		protocol := "TCP"
		if c.port == 53 {
			protocol = "UDP"
		}
		policies := network(t, c.files...)
		from, to := ends[c.from], ends[c.to]
		if from.address == "" || to.address == "" {
			t.Fatalf("there is no %s or no %s", c.from, c.to)
		}
		got := allows(policies, "Egress", from, to, protocol, c.port) && allows(policies, "Ingress", to, from, protocol, c.port)
		if got != c.want {
			t.Errorf("%v: %s to %s at %d: %v, want %v", c.files, c.from, c.to, c.port, got, c.want)
		}
	}
}
