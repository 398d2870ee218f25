package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// everything notes one good request of each kind.
func everything(b *book) {
	for _, operation := range operations {
		b.request(operation, nil)
	}
}

func TestPagesTellWhatWentWrong(t *testing.T) {
	lost := fault{operation: opRead, kind: broken, gateway: "gateway-2"}
	for name, c := range map[string]struct {
		note func(*book)
		may  func(fault) bool
		err  error
		want string // part of what is wrong; empty: nothing
	}{
		"all is well":            {note: everything},
		"a request failed":       {note: func(b *book) { everything(b); b.request(opRead, &lost) }, want: "read, broken connection, by gateway-2"},
		"it was allowed to":      {note: func(b *book) { everything(b); b.request(opRead, &lost) }, may: func(f fault) bool { return f.gateway == "gateway-2" }},
		"others are not":         {note: func(b *book) { everything(b); b.request(opRead, &lost) }, may: func(f fault) bool { return f.gateway == "gateway-1" }, want: "read"},
		"it was not played":      {note: everything, err: errors.New("no haproxy"), want: "no haproxy"},
		"nobody asked":           {note: func(*book) {}, want: "no success of: login"},
		"nobody was answered":    {note: func(b *book) { b.request(opRead, &lost) }, may: func(fault) bool { return true }, want: "no success of: read"},
		"the answer was refused": {note: func(b *book) { everything(b); b.request(opLogin, &fault{operation: opLogin, kind: "503 X"}) }, want: "login, 503 X, by nobody"},
	} {
		b := &book{}
		b.turn(name)
		c.note(b)
		wrong := strings.Join(b.turn("next").verdict(c.may, c.err), "; ")
		if (wrong == "") != (c.want == "") || !strings.Contains(wrong, c.want) {
			t.Errorf("%s: verdict() = %q, want %q", name, wrong, c.want)
		}
	}
}

func TestRowsTellKindsAndPauses(t *testing.T) {
	b := &book{}
	b.turn("kill")
	everything(b)
	for range 2 {
		b.request(opWrite, &fault{operation: opWrite, kind: broken})
	}
	b.request(opLogin, &fault{operation: opLogin, kind: "503 X"})
	b.waited(1500 * time.Millisecond)
	b.waited(time.Second)
	b.page.last = time.Now().Add(-3 * time.Second)
	b.request(opRead, nil) // after three seconds without one
	p := b.turn("next")
	got := p.row(false)
	if want := "kill\t9\t1 login: 503 X, 2 write: broken connection\t1.50 s\t3.0"; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\tFAIL") {
		t.Errorf("row() = %q, want %q...", got, want)
	}
}

// What was on its way when a page was turned is on the next one.
func TestNoRequestIsForgottenWhenAPageIsTurned(t *testing.T) {
	b := &book{}
	b.turn("one")
	everything(b)
	one := b.turn("two")
	b.request(opLogin, &fault{operation: opLogin, kind: "503 X"})
	two := b.turn("three")
	if len(one.faults) != 0 || len(two.faults) != 1 {
		t.Errorf("faults are on %v and %v", one.faults, two.faults)
	}
	b.page.last = time.Now().Add(-3 * time.Second)
	if three := b.turn("four"); three.gap < 3*time.Second {
		t.Errorf("a page without a success has a gap of %v", three.gap)
	}
}

func TestMailsKeepLinks(t *testing.T) {
	m := &mails{links: map[string]string{}}
	token := strings.Repeat("a", 43)
	m.keep([]string{"ann@example.com"}, []byte("Follow http://x/auth/ver=\nify/"+token+"\n"))
	if got, want := m.link("ann@example.com"), "/auth/verify/"+token; got != want {
		t.Errorf("link() = %q, want %q", got, want)
	}
	if got := m.link("bob@example.com"); got != "" {
		t.Errorf("link() of nobody = %q", got)
	}
}
