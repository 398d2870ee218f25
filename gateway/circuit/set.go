package circuit

import (
	"errors"
	"sync"
	"time"
)

// maxServers is how many servers a set tells apart. Beyond, one that is well is forgotten, or
// else the one that was asked for the longest time ago.
const maxServers = 64

// Set is the breakers of one who asks: one for all servers, or one for each. A server that has
// never failed costs nothing to remember. It is safe for concurrent use.
type Set struct {
	rule Rule
	each bool
	now  func() time.Time

	mu      sync.Mutex
	clock   uint64 // counts uses, to find what was used last
	servers map[string]*server
}

type server struct {
	breaker *Breaker
	used    uint64
}

// NewSet returns a set in which every breaker is closed. each says that servers are told apart.
func NewSet(rule Rule, each bool, now func() time.Time) (*Set, error) {
	if now == nil {
		return nil, errors.New("circuit: a clock is required")
	}
	if err := rule.check(); err != nil {
		return nil, err
	}
	return &Set{rule: rule, each: each, now: now, servers: make(map[string]*server)}, nil
}

// Follows reports whether the set is one of that kind.
func (s *Set) Follows(rule Rule, each bool) bool { return s.rule == rule && s.each == each }

// Question is one thing that is asked of a server of the set.
type Question struct {
	set     *Set
	name    string
	attempt Attempt // without a breaker: the server has not failed so far
}

// Begin is [Breaker.Begin] for a server.
func (s *Set) Begin(name string) (Question, error) {
	b := s.find(name)
	if b == nil {
		return Question{set: s, name: name}, nil
	}
	a, err := b.Begin()
	return Question{s, name, a}, err
}

// End is [Attempt.End].
func (q Question) End(o Outcome) (State, bool) {
	if q.attempt.b == nil {
		if o != Failure {
			return Closed, false
		}
		// Of the same epoch as one that began when the breaker was made.
		q.attempt = Attempt{b: q.set.watch(q.name)}
	}
	return q.attempt.End(o)
}

// Refusing is [Breaker.Refusing] for a server.
func (s *Set) Refusing(name string) (time.Duration, bool) {
	b := s.find(name)
	if b == nil {
		return 0, false
	}
	return b.Refusing()
}

// Worst returns the worst state of all the servers: open, then half-open, then closed; and, if
// it is open, how long it is until one of those may be asked.
func (s *Set) Worst() (State, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	worst, least := Closed, s.rule.Pause
	for _, v := range s.servers {
		switch v.breaker.State() {
		case Open:
			left, _ := v.breaker.Refusing()
			worst, least = Open, min(least, left)
		case HalfOpen:
			if worst == Closed {
				worst = HalfOpen
			}
		}
	}
	if worst != Open {
		least = 0
	}
	return worst, least
}

func (s *Set) key(name string) string {
	if s.each {
		return name
	}
	return ""
}

// find returns the breaker of a server that has failed, nil for any other.
func (s *Set) find(name string) *Breaker {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.servers[s.key(name)]
	if v == nil {
		return nil
	}
	s.clock++
	v.used = s.clock
	return v.breaker
}

// watch returns the breaker of a server, a new one if there is none.
func (s *Set) watch(name string) *Breaker {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.key(name)
	s.clock++
	if v := s.servers[key]; v != nil {
		v.used = s.clock
		return v.breaker
	}
	s.forgetOne()
	v := &server{breaker: &Breaker{rule: s.rule, now: s.now}, used: s.clock}
	s.servers[key] = v
	return v.breaker
}

// forgetOne makes room for one. s.mu is held.
func (s *Set) forgetOne() {
	if len(s.servers) < maxServers {
		return
	}
	var victim string
	var well, found bool
	for name, v := range s.servers {
		closed := v.breaker.State() == Closed
		if !found || closed && !well || closed == well && v.used < s.servers[victim].used {
			victim, well, found = name, closed, true
		}
	}
	delete(s.servers, victim)
}
