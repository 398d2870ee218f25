package testbed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/gateway/plugin/wasmtest"
)

// OpenIDProvider is a real identity provider on the loopback: deploy/test/peers/oauth/idp.mjs.
// It has as many issuers as tests make; each has clients "basic", "post" and "key", named for
// how they prove themselves.
type OpenIDProvider struct{ base string }

// StartOpenIDProvider starts one, which stops when the test ends.
func StartOpenIDProvider(t testing.TB) *OpenIDProvider {
	t.Helper()
	return &OpenIDProvider{startNode(t, "idp.mjs")}
}

// Issuer is one issuer of an [OpenIDProvider].
type Issuer struct {
	URL     string
	control string
}

// Issuer makes an issuer. Settings are client_secret, redirect_uris, client_jwks and those of
// [Issuer.Change].
func (p *OpenIDProvider) Issuer(t testing.TB, name string, settings map[string]any) *Issuer {
	t.Helper()
	i := &Issuer{control: p.base + "/control/" + name}
	i.URL = i.Change(t, settings)
	return i
}

// Change makes an issuer do something else from now on: "rotate" (true: a new key in place of
// the one that it has), "delay" (milliseconds by path), "tamper" (claims of its tokens),
// "accounts" (claims by subject). It returns the issuer's URL.
func (i *Issuer) Change(t testing.TB, settings map[string]any) string {
	t.Helper()
	body, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(i.control, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", i.control, resp.StatusCode, text, err)
	}
	return string(text)
}

// StartSites starts GitHub, Google and Microsoft, as npm's emulate has them, with the people
// and clients of a seed, and returns their addresses by name. They stop when the test ends.
func StartSites(t testing.TB, seed map[string]any) map[string]string {
	t.Helper()
	text, err := json.Marshal(seed)
	if err != nil {
		t.Fatal(err)
	}
	var addresses map[string]string
	if err := json.Unmarshal([]byte(startNode(t, "sites.mjs", "SEED="+string(text))), &addresses); err != nil {
		t.Fatal(err)
	}
	return addresses
}

// startNode runs a script of deploy/test/peers/oauth until the test ends and returns the line
// that it prints when it is ready.
func startNode(t testing.TB, script string, environment ...string) string {
	t.Helper()
	root, err := wasmtest.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "deploy/test/peers/oauth")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatalf("%s has no node_modules: run deploy/test/toolchains.sh, which installs them", dir)
	}
	var said bytes.Buffer
	cmd := exec.Command("node", script)
	cmd.Dir, cmd.Stderr = dir, &said
	cmd.Env = append(os.Environ(), environment...)
	stdin, err := cmd.StdinPipe() // its end is the script's
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start node: %v: deploy/test/toolchains.sh installs it", err)
	}
	slow := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	slow.Stop()
	t.Cleanup(func() {
		_ = stdin.Close()
		stuck := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer stuck.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Log(fmt.Sprintf("%s: %v", script, err), said.String())
		}
	})
	if err != nil {
		t.Fatalf("%s did not start: %v", script, err)
	}
	return strings.TrimSpace(line)
}
