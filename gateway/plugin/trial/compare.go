package trial

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk/wire"
)

// Transcript is what a plugin did in a row of calls. The zero value is empty.
type Transcript struct{ lines []line }

// line is one call in parts, each of which can be compared.
type line struct {
	call  string
	parts [5]part
}

type part struct{ name, shown, whole string }

// Add appends a call; it is a Watch of [Options].
func (t *Transcript) Add(e Exchange) {
	var functions, requests, shownRequests []string
	for _, a := range e.Asked {
		functions = append(functions, string(a.Function.Capability)+"."+a.Function.Name)
		requests = append(requests, a.String()+digest(a.Request))
		shownRequests = append(shownRequests, a.String())
	}
	kind, whole := e.outcome()
	t.lines = append(t.lines, line{call: e.String(), parts: [...]part{
		{"is asked", e.String(), digest(e.In)},
		{"answers", kind, kind},
		{"asks the host for", strings.Join(functions, ", "), strings.Join(functions, ", ")},
		{"asks the host", strings.Join(shownRequests, "; "), strings.Join(requests, "\n")},
		{"answers", kind + " " + shown(whole), whole},
	}})
}

// Len returns the number of calls.
func (t *Transcript) Len() int { return len(t.lines) }

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return string(sum[:])
}

// String names the call.
func (e Exchange) String() string {
	if e.Method == wire.Begin || e.Method == wire.Continue {
		c, _ := wire.DecodeCall(e.In)
		return fmt.Sprintf("%v %s/%s %s", e.Method, c.Flow.Kind, c.Flow.Form, shown(fmt.Sprint(c.Request.Fields)))
	}
	if e.Method == wire.Configure {
		settings, _ := wire.DecodeSettings(e.In)
		return fmt.Sprintf("%v %s", e.Method, shown(string(settings)))
	}
	return e.Method.String()
}

// outcome returns what kind of answer it was, and all of it that must not depend on the
// transport. The private text of an error may: it can hold what the operating system said.
func (e Exchange) outcome() (kind, whole string) {
	if e.Err != nil {
		return faultKind(e.Err), ""
	}
	switch e.Method {
	case wire.Begin, wire.Continue:
		r, err := wire.DecodeReply(e.Out)
		switch {
		case err != nil:
			return "nothing that can be decoded", string(e.Out)
		case r.Error != nil:
			return "error " + r.Error.Code, r.Error.Public
		case r.Step != nil:
			return r.Step.Kind(), string(StepJSON(*r.Step))
		}
	case wire.Serve:
		d, err := wire.DecodeDocument(e.Out)
		switch {
		case err != nil:
			return "nothing that can be decoded", string(e.Out)
		case d.Error != nil:
			return "error " + d.Error.Code, d.Error.Public
		}
		return "document", string(e.Out)
	}
	return e.Method.String(), string(e.Out)
}

// faultKind names a breakdown without what only one transport says of it.
func faultKind(err error) string {
	for _, kind := range []error{
		sandbox.ErrTrap, sandbox.ErrExit, sandbox.ErrTimeout, sandbox.ErrFuel, sandbox.ErrMemory,
		sandbox.ErrUnknownMethod, sandbox.ErrProtocol,
	} {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	return err.Error()
}

// maxDifferences is how many are told; more have the same cause.
const maxDifferences = 10

// Compare returns where a plugin does something else in one row of calls than in another,
// which was the same. In again are the calls of reference made once more in the same way:
// what differs between these two is drawn by the plugin itself, and is not compared.
func Compare(reference, again, other *Transcript) []string {
	var out []string
	for i := range min(len(reference.lines), len(other.lines)) {
		if len(out) == maxDifferences {
			return append(out, "and more")
		}
		if i >= len(again.lines) {
			break
		}
		ours, theirs := reference.lines[i], other.lines[i]
		for p, part := range ours.parts {
			drawn := part.whole != again.lines[i].parts[p].whole
			if drawn || part.whole == theirs.parts[p].whole {
				continue
			}
			one, other := apart(part.shown, theirs.parts[p].shown)
			out = append(out, fmt.Sprintf("call %d, %s: one %s %s, the other %s", i+1, ours.call, part.name, one, other))
			break
		}
	}
	if len(reference.lines) == len(again.lines) && len(reference.lines) != len(other.lines) {
		out = append(out, fmt.Sprintf("one took %d calls, the other %d", len(reference.lines), len(other.lines)))
	}
	return out
}

// Bounds of what is shown of a difference, in bytes.
const (
	lead    = 40 // before it
	maxPart = 200
)

// apart cuts two texts to where they begin to differ.
func apart(a, b string) (string, string) {
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	cut := func(s string) string {
		from, to := 0, len(s)
		if same > 2*lead {
			from = same - lead
		}
		to = min(to, from+maxPart)
		text := strings.ToValidUTF8(s[from:to], "")
		if from > 0 {
			text = "..." + text
		}
		if to < len(s) {
			text += "..."
		}
		return text
	}
	return cut(a), cut(b)
}
