package gatewaytest

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func (g *gate) metrics(t testing.TB) map[string]*dto.MetricFamily {
	t.Helper()
	a := g.get(t, "/metrics/").ok(t, http.StatusOK)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(a.body)))
	if err != nil {
		t.Fatalf("/metrics/: %v", err)
	}
	return families
}

// metric returns the sum of a counter or gauge over the labels given as name=value.
func (g *gate) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	family := g.metrics(t)[name]
	if family == nil {
		t.Fatalf("no metric %s", name)
	}
	sum := 0.0
	for _, m := range family.GetMetric() {
		held := map[string]bool{}
		for _, l := range m.GetLabel() {
			held[l.GetName()+"="+l.GetValue()] = true
		}
		all := true
		for _, l := range labels {
			all = all && held[l]
		}
		if all {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func TestMetricsOfTheContract(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p, got := g.member(t)
		g.post(t, "/auth/login", object{"email": p.email, "password": "not the password"}).ok(t, http.StatusUnauthorized)
		got = g.refresh(t, got.Refresh).tokens(t)
		g.get(t, "/api/notes/secret-path-1?q=secret-query", bearer(got.Access)).ok(t, http.StatusOK)
		g.get(t, "/no/such/secret-path-2").ok(t, http.StatusNotFound)
		g.raw(t, "GET /secret-path-3/.. HTTP/1.1\r\nHost: "+g.address+"\r\n\r\n").ok(t, http.StatusBadRequest)
		if a, err := g.try("BREW", "/secret-path-4", nil); err != nil || a.status != http.StatusMethodNotAllowed {
			t.Errorf("BREW = %d, %v", a.status, err)
		}
		g.post(t, "/auth/logout", nil, bearer(got.Access)).ok(t, http.StatusNoContent)

		for _, c := range []struct {
			name   string
			labels []string
			want   float64
		}{
			{"materi_shield_requests_total", []string{"method=GET", "endpoint=notes", "status=200"}, 1},
			{"materi_shield_requests_total", []string{"method=POST", "endpoint=auth.login", "status=200"}, 1},
			{"materi_shield_requests_total", []string{"method=POST", "endpoint=auth.login", "status=401"}, 1},
			{"materi_shield_requests_total", []string{"endpoint=unmatched", "status=404"}, 1},
			{"materi_shield_request_duration_seconds", []string{"method=GET", "endpoint=notes"}, 1},
			{"materi_auth_attempts_total", []string{"method=email", "status=success"}, 1},
			{"materi_auth_attempts_total", []string{"method=email", "status=failure"}, 1},
			{"materi_token_operations_total", []string{"operation=issue", "status=success"}, 2},
			{"materi_token_operations_total", []string{"operation=refresh", "status=success"}, 1},
			{"materi_token_operations_total", []string{"operation=revoke", "status=success"}, 1},
		} {
			if got := g.metric(t, c.name, c.labels...); got != c.want {
				t.Errorf("%s%v = %v, want %v", c.name, c.labels, got, c.want)
			}
		}
		families := g.metrics(t)
		if families["materi_active_refresh_tokens"] == nil {
			t.Error("no metric materi_active_refresh_tokens")
		}
		bounds := map[float64]bool{}
		for _, b := range families["materi_shield_request_duration_seconds"].GetMetric()[0].GetHistogram().GetBucket() {
			bounds[b.GetUpperBound()] = true
		}
		for _, want := range []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5} {
			if !bounds[want] {
				t.Errorf("no bucket %v", want)
			}
		}
		labelsAreTame(t, families)
		text := string(g.get(t, "/metrics").ok(t, http.StatusOK).body)
		in.secrets.mustNotBeIn(t, text)
		if strings.Contains(text, "secret-") || strings.Contains(text, p.id) {
			t.Error("the metrics hold what a request said")
		}
	})
}

var tame = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// labelsAreTame fails if a label of ours could come from a request.
func labelsAreTame(t testing.TB, families map[string]*dto.MetricFamily) {
	t.Helper()
	for name, family := range families {
		if !strings.HasPrefix(name, "materi_") {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if !tame.MatchString(l.GetValue()) || strings.Contains(l.GetValue(), "@") {
					t.Errorf("%s{%s=%q}", name, l.GetName(), l.GetValue())
				}
			}
		}
	}
}

// The log of a whole story names what happened, and nobody's secrets: installation_test.go
// looks for those in the log of every test.
func TestLogTellsWhoAndWhatByTheirIDs(t *testing.T) {
	t.Parallel()
	g := onSQLite(t).start(t)
	p, got := g.member(t)
	a := g.get(t, "/api/notes/1?token="+got.Access, bearer(got.Access)).ok(t, http.StatusOK)
	var line string
	eventually(t, "the request is in the log", func() bool {
		for l := range strings.Lines(g.in.logs.String()) {
			if strings.Contains(l, a.header.Get("X-Request-Id")) {
				line = l
			}
		}
		return line != ""
	})
	for _, want := range []string{`"route":"notes"`, `"status":200`, `"method":"GET"`, fmt.Sprintf("%q:%q", "subject", p.id), `"upstream":"demo"`} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
}
