package languages_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// In C a byte too far can be read without anybody noticing, so the provider also runs
// outside of WASM with a compiler that notices: the one that Go's race detector needs, too.
func TestCReadsNothingBeyondItsInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "native")
	sources, err := filepath.Glob("../c/src/*.c")
	if err != nil {
		t.Fatal(err)
	}
	cc := exec.Command("cc", append([]string{
		"-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-I../c/src", "-o", file,
		"testdata/mirror.c", "testdata/native.c",
	}, sources...)...)
	if out, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cc, err, out)
	}
	calls, want := hostileCalls(t)
	run := exec.Command(file)
	run.Stdin = bytes.NewReader(calls)
	var stderr strings.Builder
	run.Stderr = &stderr
	out, err := run.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	got := strings.Fields(string(out))
	if len(got) != len(want) {
		t.Fatalf("%d answers to %d calls", len(got), len(want))
	}
	for i, status := range got {
		if status != strconv.Itoa(int(want[i])) {
			t.Errorf("call %d: status %s, want %d", i, status, want[i])
		}
	}
}

// hostileCalls returns the input of native.c with the status of each call.
func hostileCalls(t *testing.T) (in []byte, want []wire.Status) {
	r := rand.New(rand.NewPCG(7, 8))
	add := func(method wire.Method, request, reply []byte) {
		in = binary.LittleEndian.AppendUint32(in, uint32(method))
		for _, piece := range [][]byte{request, reply} {
			in = append(binary.LittleEndian.AppendUint32(in, uint32(len(piece))), piece...)
		}
		status := wire.StatusOK
		if _, err := wire.DecodeCall(request); err != nil {
			status = wire.StatusMalformed
		}
		want = append(want, status)
	}
	for _, request := range odd() {
		add(wire.Begin, request, nil)
	}
	for _, name := range []string{"1/CallRequest", "2/CallRequest.headers"} {
		for _, request := range mutations(r, golden(t, name), 5000) {
			add(wire.Begin, request, nil)
		}
	}
	for _, q := range questions {
		if q.reply == "" {
			continue
		}
		for _, reply := range mutations(r, golden(t, q.reply), 500) {
			add(wire.Begin, host(q.call), reply)
		}
	}
	for _, form := range []string{"redirect", "post", "prompt", "mail", "done", "denied", "error", "nothing", "large"} {
		add(wire.Begin, wire.EncodeCall(wire.Call{Flow: sdk.Flow{ID: "f", Form: form}}), nil)
	}
	for _, text := range mutations(r, []byte(`{"a":[1,-2.5e3,true,null,"\ud83d\ude00\n"],"b":{"c":false}}`), 5000) {
		add(wire.Begin, wire.EncodeCall(wire.Call{
			Flow: sdk.Flow{ID: "f", Form: "json"}, Request: sdk.Request{Fields: map[string]string{"text": string(text)}},
		}), nil)
	}
	return in, want
}
