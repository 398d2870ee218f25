package providertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
	"github.com/materi/shield/sdk/wire"
)

// Suite is a provider with what [Run] must know of it.
type Suite struct {
	// New makes a provider that is not configured yet.
	New func() sdk.Provider
	// Settings is a configuration that is good. Empty stands for {}.
	Settings string
	// BadSettings are configurations that must be refused.
	BadSettings []string
	// Fields are good inputs by form name, so that the suite comes past the first check of
	// a form. A form without an entry is tried with made-up inputs alone.
	Fields map[string]map[string]string
	// Headers are good request headers, for a provider that looks at some.
	Headers map[string]string
	// Prepare, if set, sets the scene on each host that the suite makes: sites, secrets.
	Prepare func(*Host)
	// Expect are calls with the answers that they must have. They are made in this order on
	// one host, so that the first can register whom the next logs in.
	Expect []Expectation
	// After, if set, is called after each check. What New made is not used again.
	After func()
}

// Run holds a provider to the contract: whatever a person, a link or the host's trouble
// brings, its answer is a valid step or an error that the gateway knows, never a panic, and
// never an identity made out of garbage.
func Run(t *testing.T, s Suite) {
	for _, c := range s.Checks() {
		t.Run(c.Name, func(t *testing.T) { c.run(t) })
	}
}

// Checks returns what [Run] runs, for those who are no Go test. The checks are run one after
// another.
func (s Suite) Checks() []Check {
	var list []Check
	for _, c := range []struct {
		name, hint string
		run        func(Suite, T)
	}{
		{"manifest is valid and does not change", "Describe returns constants; see sdk.Manifest.", Suite.manifest},
		{"settings are checked", "Configure returns a fault for whatever is no object that it understands.", Suite.settings},
		{"hostile fields get a valid answer", "Fields are untrusted: answer with Denied, or with an *sdk.Error that has a public code.", Suite.hostileFields},
		{"hostile headers prove nobody", "Headers are untrusted like fields: compare them with what you know before you believe them.", Suite.hostileHeaders},
		{"unknown flows are refused", "Look at flow.Kind and flow.Form first, and refuse the ones that are not in the manifest.", Suite.unknownFlows},
		{"a saved state of garbage proves nobody", "Continue checks flow.Saved as Begin checks fields: it can be of an older version.", Suite.garbageState},
		{"a failing host proves nobody", "When the host returns an error, return it; do not go on as if it had said yes.", Suite.failingHost},
		{"refusals of the host are answered", "An error of one capability is an answer too: a public code when another server is away, and never a yes in place of a check.", Suite.refusingHost},
		{"nothing is remembered outside the host", "An instance may be dropped after any call: keep things in KV or in Step.Save.", Suite.forgetful},
		{"only declared capabilities are used", "Name in Manifest.Capabilities whatever the provider asks of the host.", Suite.declared},
		{"documents are valid", "Serve answers any path: with a status of 200 to 599, or with an *sdk.Error that has a public code.", Suite.documents},
		{"the log holds no input", "Log what happened, not what a person, a header or a secret said.", Suite.quietLog},
	} {
		list = append(list, s.check(c.name, c.hint, c.run))
	}
	for i, e := range s.Expect {
		// Each of them is made after those before it, on a host of its own.
		list = append(list, s.check(fmt.Sprintf("expect %d: %v", i+1, e),
			"The test file expects this answer: see its list expect.", func(s Suite, t T) { s.expected(t, i) }))
	}
	return list
}

// check returns a check that also fails when a provider that it made has broken down, which
// only those behind a transport can without a panic.
func (s Suite) check(name, hint string, run func(Suite, T)) Check {
	return Check{name, hint, func(t T) {
		var made []sdk.Provider
		counted := s
		counted.New = func() sdk.Provider {
			p := s.New()
			made = append(made, p)
			return p
		}
		defer func() {
			for _, p := range made {
				if f, ok := p.(interface{ Fault() error }); ok && f.Fault() != nil {
					t.Errorf("the plugin broke down: %v", f.Fault())
				}
			}
			if s.After != nil {
				s.After()
			}
		}()
		run(counted, t)
	}}
}

// host returns one that grants what the manifest declares, as the gateway does.
func (s Suite) host(m sdk.Manifest) *Host {
	h := NewFor("conformance", m)
	if s.Prepare != nil {
		s.Prepare(h)
	}
	return h
}

// configured returns a provider that is ready.
func (s Suite) configured(t T) sdk.Provider {
	t.Helper()
	p := s.New()
	if faults := p.Configure(s.settingsJSON()); len(faults) > 0 {
		t.Fatalf("Configure(%s) = %v, want no faults", s.settingsJSON(), faults)
	}
	return p
}

// ready returns a provider that is ready, what it is, and a host for it.
func (s Suite) ready(t T) (sdk.Provider, sdk.Manifest, *Host) {
	t.Helper()
	p := s.configured(t)
	m := p.Describe()
	return p, m, s.host(m)
}

func (s Suite) settingsJSON() []byte {
	if s.Settings == "" {
		return []byte("{}")
	}
	return []byte(s.Settings)
}

func (s Suite) manifest(t T) {
	p := s.New()
	m := p.Describe()
	if err := contract.Manifest(m); err != nil {
		t.Errorf("Describe() is not valid: %v", err)
	}
	if again := p.Describe(); !reflect.DeepEqual(m, again) {
		t.Errorf("Describe() = %v, then %v", m, again)
	}
	p.Configure(s.settingsJSON())
	if configured := p.Describe(); !reflect.DeepEqual(m, configured) {
		t.Errorf("Describe() = %v, after Configure %v", m, configured)
	}
}

func (s Suite) settings(t T) {
	s.configured(t)
	bad := append([]string{"", "{", "[]", "null", `"text"`, "{} {}", "\xff", strings.Repeat("[", 1<<16)}, s.BadSettings...)
	for _, settings := range bad {
		faults := s.New().Configure([]byte(settings))
		if len(faults) == 0 {
			t.Errorf("Configure(%.40q) found no fault", settings)
		}
		for _, f := range faults {
			if f.Message == "" {
				t.Errorf("Configure(%.40q): a fault without a message", settings)
			}
		}
	}
}

// attempt is one call that the suite makes.
type attempt struct {
	flow sdk.Flow
	req  sdk.Request
}

func (a attempt) String() string {
	return fmt.Sprintf("%s/%s %.80q", a.flow.Kind, a.flow.Form, fmt.Sprint(a.req.Fields))
}

// try makes a call and holds its answer to the contract.
func try(t T, h *Host, f function, a attempt) (sdk.Step, error) {
	t.Helper()
	step, err := h.call(context.Background(), f, a.flow, a.req)
	if err != nil {
		e, ok := errors.AsType[*sdk.Error](err)
		if !ok {
			t.Errorf("%v: error %v is no *sdk.Error: the person would see an internal error", a, err)
			return step, err
		}
		if err := contract.Error(*e); err != nil {
			t.Errorf("%v: error is not valid: %v", a, err)
		}
		if e.Code == sdk.CodeInternal {
			t.Errorf("%v: error is an internal one: %s", a, e.Private)
		}
		return step, err
	}
	if err := contract.Step(a.flow.Kind, step); err != nil {
		t.Errorf("%v: step is not valid: %v", a, err)
	}
	reply := wire.EncodeReply(wire.Reply{FlowID: a.flow.ID, Step: &step})
	if decoded, err := wire.DecodeReply(reply); err != nil || decoded.Step.Kind() != step.Kind() {
		t.Errorf("%v: step does not survive the wire: %v", a, err)
	}
	return step, nil
}
