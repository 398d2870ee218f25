package token

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
)

// gauge returns the value of a metric without labels, and whether it is there.
func gauge(t *testing.T, reg *prometheus.Registry, name string) (float64, bool) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue(), true
		}
	}
	return 0, false
}

func TestAgeOfTheSigningKeyIsTold(t *testing.T) {
	const name = "materi_signing_key_activated_timestamp_seconds"
	c, cfg, reg := newClock(), testConfig("EdDSA"), prometheus.NewRegistry()
	made := c.Now()
	k, err := OpenKeyring(KeyringOptions{Config: cfg, Dir: t.TempDir(), Now: c.Now, Log: quiet(), Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := gauge(t, reg, name); got != float64(made.Unix()) {
		t.Errorf("%s = %v, want %v, when the first key was made", name, got, made.Unix())
	}
	c.Move(24 * time.Hour)
	next, err := k.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := gauge(t, reg, name); got != float64(made.Unix()) {
		t.Errorf("%s = %v while the next key waits, want that of the first, %v", name, got, made.Unix())
	}
	c.Move(cfg.Publish)
	k.reload()
	if got, _ := gauge(t, reg, name); got != float64(next.ActiveAt.Unix()) {
		t.Errorf("%s = %v, want that of the next key, %v", name, got, next.ActiveAt.Unix())
	}

	cfg.PrivateKey = config.NewSecret(privatePEM(t, k.active().private))
	given := prometheus.NewRegistry()
	if _, err := OpenKeyring(KeyringOptions{Config: cfg, Now: c.Now, Log: quiet(), Registerer: given}); err != nil {
		t.Fatal(err)
	}
	if got, there := gauge(t, given, name); there {
		t.Errorf("%s = %v for a key of the configuration, whose age nobody knows", name, got)
	}
}
