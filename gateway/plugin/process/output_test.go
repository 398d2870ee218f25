package process

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func printer(w io.Writer, now func() time.Time) *output {
	return newOutput(&Options{Name: "test", Granted: []sdk.Capability{sdk.CapabilityLog}, Log: textLog(w), Now: now}, newListeners().redact)
}

func TestLinesAreCutBoundedAndCounted(t *testing.T) {
	var out logged
	now := noon
	o := printer(&out, func() time.Time { return now })
	s := o.stream()
	write := func(text string) {
		if n, err := s.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("Write() = %d, %v", n, err)
		}
	}
	write("half")
	if strings.Contains(out.String(), "half") {
		t.Error("half a line is logged")
	}
	write(" and half\n\n" + strings.Repeat("y", 3*maxLine) + "\nnext \xff line\n")
	for _, want := range []string{`text="half and half"`, strings.Repeat("y", maxLine), `text="next ? line"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %.40q in the log:\n%.400s", want, out.String())
		}
	}
	if strings.Contains(out.String(), strings.Repeat("y", maxLine+1)) {
		t.Error("a line is longer than it may be")
	}
	write(strings.Repeat("again\n", 100))
	if n := strings.Count(out.String(), "plugin printed"); n != linesBurst {
		t.Errorf("%d lines at once, want %d", n, linesBurst)
	}
	now = now.Add(time.Second)
	write("later\n")
	if !strings.Contains(out.String(), "text=later dropped=71") {
		t.Errorf("what was dropped is not counted:\n%s", out.String()[max(0, len(out.String())-200):])
	}
	now = now.Add(-time.Hour)
	write(strings.Repeat("z\n", 100))
	if n := strings.Count(out.String(), "plugin printed"); n > linesBurst+linesPerSec {
		t.Errorf("a clock that goes back lets %d lines through", n)
	}
}

func TestSecretIsNotCutBeforeItIsRedacted(t *testing.T) {
	var out logged
	o := printer(&out, func() time.Time { return noon })
	o.redact = confidant{"correct horse"}.Redact
	if _, err := o.stream().Write([]byte(strings.Repeat("y", maxLine-len("correct")) + "correct horse\n")); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "correct") {
		t.Error("half of it is in the log")
	}
}

func TestStreamsDoNotMixTheirLines(t *testing.T) {
	var out logged
	o := printer(&out, time.Now)
	a, b := o.stream(), o.stream()
	_, _ = a.Write([]byte("one "))
	_, _ = b.Write([]byte("two\n"))
	_, _ = a.Write([]byte("three\n"))
	if !strings.Contains(out.String(), `text="one three"`) || !strings.Contains(out.String(), "text=two") {
		t.Errorf("log:\n%s", out.String())
	}
}

func TestBucket(t *testing.T) {
	b := bucket{rate: 10, burst: 20, level: 20}
	for _, c := range []struct {
		after time.Duration
		n     float64
		want  time.Duration
	}{
		{0, 20, 0},
		{0, 5, 500 * time.Millisecond},
		{500 * time.Millisecond, 1, 100 * time.Millisecond},
		{time.Hour, 20, 0},
		{0, 10, time.Second},
	} {
		noon := noon.Add(c.after)
		if c.after > 0 {
			noon = b.at.Add(c.after)
		} else if !b.at.IsZero() {
			noon = b.at
		}
		if got := b.take(c.n, noon); got != c.want {
			t.Errorf("take(%v) after %v = %v, want %v", c.n, c.after, got, c.want)
		}
	}
}

// FuzzGreeting gives first lines to the check: what it lets pass has the parts that go-plugin
// takes without looking, and errors show only a part of it, as one line.
func FuzzGreeting(f *testing.F) {
	f.Add("1|2|unix|/x/y|grpc|MIIB\n")
	f.Add("1|2|unix|/x/y|netrpc|\n")
	f.Add("1|2|unix\n")
	f.Add("2|2|unix|/x|grpc|cert\n")
	f.Add("")
	f.Add("hello\x00\xff world")
	f.Add(strings.Repeat("1|", maxGreeting) + "\n")
	f.Fuzz(func(t *testing.T, first string) {
		text, readErr := bufio.NewReaderSize(strings.NewReader(first), maxGreeting).ReadSlice('\n')
		err := checkGreeting(string(text), readErr)
		if err == nil {
			if parts := strings.Split(strings.TrimSpace(string(text)), "|"); parts[0] != "1" || parts[4] != "grpc" || len(text) > maxGreeting {
				t.Errorf("%q passes", text)
			}
			return
		}
		if !errors.Is(err, sandbox.ErrProtocol) && !errors.Is(err, sandbox.ErrExit) {
			t.Errorf("error %v is no fault of the plugin's", err)
		}
		if len(err.Error()) > 1024 || strings.Contains(err.Error(), "\n") {
			t.Errorf("error of %d bytes: %q", len(err.Error()), err)
		}
	})
}
