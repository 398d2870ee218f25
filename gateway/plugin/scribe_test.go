package plugin

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

func TestAFloodOfRecordsIsCut(t *testing.T) {
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dropped"}, []string{"provider"})
	at := now
	var out strings.Builder
	s := newScribe(slog.New(slog.NewTextHandler(&out, nil)), func() time.Time { return at }, dropped)
	say := func(provider string, times int) int {
		out.Reset()
		for range times {
			s.write(t.Context(), provider, wire.Record{Level: sdk.LevelInfo, Message: "again"}, redactor{})
		}
		return strings.Count(out.String(), "provider says")
	}
	if got := say("loud", 10_000); got != recordsBurst {
		t.Errorf("%d of 10000 records were written, want %d", got, recordsBurst)
	}
	if got := say("quiet", 10); got != 10 {
		t.Errorf("%d of another's 10 records were written, want all", got)
	}
	if got := valueOf(t, dropped.WithLabelValues("loud")); got != 10_000-recordsBurst {
		t.Errorf("%v records are counted as dropped", got)
	}
	at = at.Add(time.Second)
	if got := say("loud", 10_000); got != int(recordsPerSecond) {
		t.Errorf("%d records were written a second later, want %v", got, recordsPerSecond)
	}
}

func TestTheLogHoldsNothingOfThePersons(t *testing.T) {
	var out strings.Builder
	b := newBed(t, &out, configured("one"))
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.begin("one", "log", "hunter2 was typed"); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, "hunter2") || !strings.Contains(text, redacted) {
		t.Errorf("the log holds what the person sent:\n%s", text)
	}
	_, _, err := b.begin("one", "complain", "hunter2 was typed")
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), redacted) {
		t.Errorf("the provider's error for the log = %v", err)
	}
}

func TestAPanicTellsNothingOfThePersons(t *testing.T) {
	var out lockedBuilder
	b := newBed(t, &out, configured("one"))
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, err := b.begin("one", "panic", "hunter2 was typed")
	f, ok := errors.AsType[*Fault](err)
	if !ok || f.Kind != Trap || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v, want a fault without what was typed", err)
	}
	if text := out.String(); strings.Contains(text, "hunter2") || !strings.Contains(text, "guest: [redacted]") {
		t.Errorf("the log should hold the panic without what was typed:\n%s", text)
	}
}

func valueOf(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
