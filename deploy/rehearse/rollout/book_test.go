package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// everything notes one good request of each kind.
func everything(p *page) {
	for _, operation := range operations {
		p.request(operation, nil)
	}
}

func TestPagesTellWhatWentWrong(t *testing.T) {
	lost := fault{operation: opRead, kind: broken, gateway: "gateway-2"}
	for name, c := range map[string]struct {
		note func(*page)
		may  func(fault) bool
		err  error
		want string // part of what is wrong; empty: nothing
	}{
		"all is well":            {note: everything},
		"a request failed":       {note: func(p *page) { everything(p); p.request(opRead, &lost) }, want: "read, broken connection, by gateway-2"},
		"it was allowed to":      {note: func(p *page) { everything(p); p.request(opRead, &lost) }, may: func(f fault) bool { return f.gateway == "gateway-2" }},
		"others are not":         {note: func(p *page) { everything(p); p.request(opRead, &lost) }, may: func(f fault) bool { return f.gateway == "gateway-1" }, want: "read"},
		"it was not played":      {note: everything, err: errors.New("no haproxy"), want: "no haproxy"},
		"nobody asked":           {note: func(*page) {}, want: "no success of: login"},
		"nobody was answered":    {note: func(p *page) { p.request(opRead, &lost) }, may: func(fault) bool { return true }, want: "no success of: read"},
		"the answer was refused": {note: func(p *page) { everything(p); p.request(opLogin, &fault{operation: opLogin, kind: "503 X"}) }, want: "login, 503 X, by nobody"},
	} {
		p := (&book{}).turn(name)
		c.note(p)
		p.close()
		wrong := strings.Join(p.verdict(c.may, c.err), "; ")
		if (wrong == "") != (c.want == "") || !strings.Contains(wrong, c.want) {
			t.Errorf("%s: verdict() = %q, want %q", name, wrong, c.want)
		}
	}
}

func TestRowsTellKindsAndPauses(t *testing.T) {
	p := (&book{}).turn("kill")
	everything(p)
	for range 2 {
		p.request(opWrite, &fault{operation: opWrite, kind: broken})
	}
	p.request(opLogin, &fault{operation: opLogin, kind: "503 X"})
	p.waited(1500 * time.Millisecond)
	p.waited(time.Second)
	p.last = time.Now().Add(-3 * time.Second)
	p.request(opRead, nil) // after three seconds without one
	p.close()
	got := p.row(false)
	if want := "kill\t9\t1 login: 503 X, 2 write: broken connection\t1.50 s\t3.0"; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\tFAIL") {
		t.Errorf("row() = %q, want %q...", got, want)
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
