package meter_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/materi/shield/gateway/plugin/wasm/meter"
)

// Rewritten modules are kept over restarts. So whoever changes what Rewrite makes has to
// raise Version and to write the new sum here. A newer wazero, whose tests are in the corpus,
// changes the sum alone.
func TestVersionRisesWithWhatRewriteMakes(t *testing.T) {
	const (
		version = 1
		want    = "09b8f5489b9dc2f22a346f82c99fccbff948280de82550fd874f4f02ebae9765"
	)
	if meter.Version != version {
		t.Fatalf("the sum below is that of version %d, and this is %d", version, meter.Version)
	}
	made := sha256.New()
	add := func(code []byte) {
		out, err := meter.Rewrite(code, meter.Options{Call: func(string, string) uint32 { return 7 }, Start: "start"})
		if err == nil {
			made.Write(out)
		}
	}
	for i := range 500 {
		seed := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		add(generate(append(seed[:], seed[:]...)))
	}
	corpus(t, func(_ string, code []byte) { add(code) })
	if got := hex.EncodeToString(made.Sum(nil)); got != want {
		t.Errorf("the sum of what Rewrite makes is %s, want %s: raise Version", got, want)
	}
}
