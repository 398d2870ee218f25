package login

import (
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Labels that are no names of a configuration.
const (
	unknownParty = "unknown" // the provider did not say
	otherParty   = "other"   // one more than are told apart
)

// maxParties is how many sites of one provider are told apart. Their names are those of the
// provider's settings, but it is the plugin that tells them.
const maxParties = 100

// sites counts how logins at other sites end. It is safe for concurrent use.
type sites struct {
	oauth *prometheus.CounterVec
	saml  *prometheus.CounterVec

	mu      sync.Mutex
	parties map[string]map[string]bool // by provider
}

func newSites(reg prometheus.Registerer) (*sites, error) {
	s := &sites{
		oauth: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_oauth_attempts_total",
			Help: "Logins that came back from an OAuth provider, by outcome.",
		}, []string{"provider", "status"}),
		saml: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_saml_assertions_total",
			Help: "SAML responses, by the identity provider's name in the settings and outcome.",
		}, []string{"idp", "status"}),
		parties: make(map[string]map[string]bool),
	}
	if err := errors.Join(reg.Register(s.oauth), reg.Register(s.saml)); err != nil {
		return nil, fmt.Errorf("login: register metrics: %w", err)
	}
	return s, nil
}

// observe counts a login that came back from another site: provider and kind are the
// gateway's names, party is what the provider calls the site, err is nil if it succeeded.
func (s *sites) observe(provider, kind, party string, err error) {
	switch kind {
	case KindOAuth:
		s.oauth.WithLabelValues(provider, statusOf(err)).Inc()
	case KindSAML:
		s.saml.WithLabelValues(s.party(provider, party), statusOf(err)).Inc()
	}
}

// party returns the label of a site.
func (s *sites) party(provider, name string) string {
	if name == "" {
		return unknownParty
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.parties[provider]
	if known == nil {
		known = make(map[string]bool)
		s.parties[provider] = known
	}
	if !known[name] && len(known) == maxParties {
		return otherParty
	}
	known[name] = true
	return name
}

func statusOf(err error) string {
	if err != nil {
		return "failure"
	}
	return "success"
}
