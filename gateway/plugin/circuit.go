package plugin

import (
	"cmp"
	"fmt"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/circuit"
	"github.com/materi/shield/sdk"
)

// Kinds of provider for which something else holds.
const (
	kindOAuth = "oauth"
	kindSAML  = "saml"
)

// CircuitOpen says that a provider could not do its part because a server that it has to ask
// keeps failing and is not asked for now. It is no fault of the plugin's.
type CircuitOpen struct {
	Provider   string
	RetryAfter time.Duration
	Err        error // what the provider said; nil: it was not asked
}

// Error returns provider, time and what the provider said, for the log.
func (c *CircuitOpen) Error() string {
	text := fmt.Sprintf("provider %s: circuit open, to be tried again in %s", c.Provider, c.RetryAfter.Round(time.Millisecond))
	if c.Err != nil {
		text += ": " + c.Err.Error()
	}
	return text
}

// ruleOf returns when the circuit of a provider opens, and whether its servers are told apart:
// one SAML provider speaks to several sites that have nothing to do with each other.
func ruleOf(kind string, c config.Circuit) (rule circuit.Rule, each bool) {
	rule = circuit.Rule{Failures: 5, Within: 30 * time.Second, Pause: 60 * time.Second}
	if each = kind == kindSAML; each {
		rule = circuit.Rule{Failures: 3, Within: 60 * time.Second, Pause: 120 * time.Second}
	}
	return circuit.Rule{
		Failures: cmp.Or(c.Failures, rule.Failures), Within: cmp.Or(c.Within, rule.Within), Pause: cmp.Or(c.Open, rule.Pause),
	}, each
}

// circuits returns the breakers for a generation: what is known of a server outlives the plugin
// that found out, unless it is now judged by another rule.
func (h *Host) circuits(g, before *generation) (*circuit.Set, error) {
	rule, each := ruleOf(g.manifest.Kind, g.cfg.HTTP.Circuit)
	if before != nil && before.circuits.Follows(rule, each) {
		return before.circuits, nil
	}
	return circuit.NewSet(rule, each, h.now)
}

// useless reports whether to begin a flow has no use for now: who is sent to a site that does
// not answer the gateway only finds that out on the way back. A half-open circuit is worth a try.
func (h *Host) useless(g *generation, kind sdk.FlowKind) error {
	if g.manifest.Kind != kindOAuth || kind != sdk.FlowLogin && kind != sdk.FlowLink {
		return nil
	}
	if state, left := g.circuits.Worst(); state == circuit.Open {
		return &CircuitOpen{Provider: g.cfg.Name, RetryAfter: left}
	}
	return nil
}

// circuitOpen returns what a provider's error means if its call was kept from a server: these
// codes are how a provider says that another server failed it, or hands that error on.
func circuitOpen(s *session, e *sdk.Error) error {
	after, refused := s.outside.Refused()
	if !refused {
		return e
	}
	switch e.Code {
	case sdk.CodeProviderError, sdk.CodeUnavailable, sdk.CodeInternal:
		return &CircuitOpen{Provider: s.provider, RetryAfter: after, Err: e}
	}
	return e
}
