package plugin

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// certificateUntil returns the PEM of a certificate that expires then.
func certificateUntil(t *testing.T, until time.Time) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestTheFirstCertificateToExpireIsFound(t *testing.T) {
	soon, late := now.Add(24*time.Hour), now.Add(240*time.Hour)
	first, second := certificateUntil(t, soon), certificateUntil(t, late)
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))
	broken := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	for name, c := range map[string]struct {
		settings map[string]any
		want     time.Time
	}{
		"none":            {map[string]any{"a": "b", "n": 1, "t": true, "z": nil}, time.Time{}},
		"at the top":      {map[string]any{"certificate": second}, late},
		"two in one text": {map[string]any{"certificates": second + "some text\n" + first}, soon},
		"deep":            {map[string]any{"idps": []any{map[string]any{"certificates": []any{second, first}}}}, soon},
		"beside others":   {map[string]any{"a": key + second + broken}, late},
		"others alone":    {map[string]any{"a": key + broken}, time.Time{}},
	} {
		settings, err := json.Marshal(c.settings)
		if err != nil {
			t.Fatal(err)
		}
		if got := certifiedUntil(settings); !got.Equal(c.want) {
			t.Errorf("%s: certifiedUntil() = %v, want %v", name, got, c.want)
		}
	}
	if got := certifiedUntil([]byte("no JSON")); !got.IsZero() {
		t.Errorf("certifiedUntil() of no JSON = %v", got)
	}
}

func TestExpiryOfCertificatesIsTold(t *testing.T) {
	const name = "materi_plugin_certificate_expiry_timestamp_seconds"
	with, without := configured("with"), configured("without")
	until := now.Add(48 * time.Hour)
	with.Config = map[string]any{"certificate": certificateUntil(t, until)}
	b := loaded(t, with, without)
	if got := b.metric(t, name, "provider", "with"); got != float64(until.Unix()) {
		t.Errorf("%s = %v, want %v", name, got, until.Unix())
	}
	if got := b.metric(t, name, "provider", "without"); got != 0 {
		t.Errorf("%s = %v for a provider that has none", name, got)
	}
}

func TestWhatDidNotHappenYetIsZero(t *testing.T) {
	b := loaded(t, configured("one"))
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	for _, f := range families {
		series[f.GetName()] = len(f.GetMetric())
	}
	for name, want := range map[string]int{
		"materi_plugin_faults_total": 8, "materi_plugin_loads_total": 2, "materi_plugin_log_dropped_total": 1, "materi_plugin_restarts": 1,
	} {
		if series[name] != want {
			t.Errorf("%s has %d series, want %d", name, series[name], want)
		}
	}
}
