package kubernetes_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestPolicyKnowsHowLongAGatewayTakesToEnd(t *testing.T) {
	cfg := load(t, "production")
	policy, err := os.ReadFile("policy/shield.rego")
	if err != nil {
		t.Fatal(err)
	}
	took := cfg.Server.Timeouts.Grace + cfg.Server.Timeouts.Drain + 5*time.Second
	if want := fmt.Sprintf("after_sigterm := %d\n", int(took.Seconds())); !bytes.Contains(policy, []byte(want)) {
		t.Errorf("policy/shield.rego does not have %q", want)
	}
}
