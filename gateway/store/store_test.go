package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var errLost = errors.New("lost")

// losing is an engine that loses a number of transactions.
type losing struct {
	Engine
	losses  int
	dialect Dialect
}

func (l *losing) Dialect() Dialect { return l.dialect }

func (l *losing) Classify(err error) Class {
	if errors.Is(err, errLost) {
		return Lost
	}
	return Unknown
}

func (l *losing) Tx(_ context.Context, f func(Conn) error) error {
	if l.losses > 0 {
		l.losses--
		return errLost
	}
	return f(nil)
}

func TestLostTransactionIsTriedAgain(t *testing.T) {
	s := New(&losing{losses: 3})
	ran := 0
	err := s.tx(t.Context(), "test", func(context.Context, Conn) error { ran++; return nil })
	if err != nil || ran != 1 || s.Retries() != 3 {
		t.Errorf("tx() = %v, ran %d times after %d retries, want 1 after 3", err, ran, s.Retries())
	}
}

func TestTransactionThatAlwaysLosesEndsAtTheDeadline(t *testing.T) {
	s := New(&losing{losses: 1 << 30})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.tx(ctx, "test", func(context.Context, Conn) error { return nil })
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, errLost) {
		t.Errorf("tx() = %v, want ErrUnavailable and the cause", err)
	}
}

func TestErrorsOfADomainAreNotTriedAgain(t *testing.T) {
	s := New(&losing{})
	want, ran := errors.New("domain"), 0
	err := s.tx(t.Context(), "test", func(context.Context, Conn) error { ran++; return want })
	if !errors.Is(err, want) || errors.Is(err, ErrUnavailable) || ran != 1 {
		t.Errorf("tx() = %v, ran %d times, want the error after one", err, ran)
	}
}

func TestMigrationsCountFromOneWithoutAGap(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"in order":  {[]string{"0001_a.sql", "0002_b.sql"}, ""},
		"gap":       {[]string{"0001_a.sql", "0003_b.sql"}, "0002_"},
		"twice":     {[]string{"0001_a.sql", "0001_b.sql"}, "0002_"},
		"no number": {[]string{"a.sql"}, "0001_"},
		"no name":   {[]string{"0001.sql"}, "0001_"},
	} {
		files := fstest.MapFS{}
		for _, f := range c.files {
			files[f] = &fstest.MapFile{Data: []byte("SELECT 1")}
		}
		_, err := New(&losing{dialect: Dialect{Migrations: files}}).known()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: known() = %v, want %q", name, err, c.want)
		}
	}
}
