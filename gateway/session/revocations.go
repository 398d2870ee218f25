package session

import (
	"hash/maphash"
	"sync"
	"time"
)

const shards = 64 // a power of two

// revocations is the set of sessions whose access tokens are refused, each until the last
// of them is dead. It is read for every request and written seldom.
type revocations struct {
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu   sync.RWMutex
	dead map[string]time.Time
	_    [32]byte // keeps neighbours out of one cache line
}

func newRevocations() *revocations {
	r := &revocations{seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].dead = map[string]time.Time{}
	}
	return r
}

func (r *revocations) shard(id string) *shard {
	return &r.shards[maphash.String(r.seed, id)%shards]
}

func (r *revocations) has(id string) bool {
	s := r.shard(id)
	s.mu.RLock()
	_, found := s.dead[id]
	s.mu.RUnlock()
	return found
}

// add puts a session in, or lets it stay longer.
func (r *revocations) add(id string, dead time.Time) {
	s := r.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, found := s.dead[id]; !found || dead.After(old) {
		s.dead[id] = dead
	}
}

// prune takes out what is dead at now and returns how many sessions remain.
func (r *revocations) prune(now time.Time) int {
	n := 0
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for id, dead := range s.dead {
			if now.After(dead) {
				delete(s.dead, id)
			}
		}
		n += len(s.dead)
		s.mu.Unlock()
	}
	return n
}

// pending is the newest generation seen of each session, until it is recorded. It is bounded.
type pending struct {
	mu   sync.Mutex
	max  int
	seen map[string]int64
}

func newPending(n int) *pending { return &pending{max: n, seen: map[string]int64{}} }

// add notes a generation and reports whether there was room.
func (p *pending) add(id string, generation int64) bool {
	if id == "" || generation < 1 {
		return true // not one of our tokens
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old, found := p.seen[id]
	if !found && len(p.seen) >= p.max {
		return false
	}
	p.seen[id] = max(old, generation)
	return true
}

// take empties it.
func (p *pending) take() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) == 0 {
		return nil
	}
	seen := p.seen
	p.seen = map[string]int64{}
	return seen
}
