package access

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// shards is how many parts the cache has, so that requests on many processors seldom meet.
const shards = 64

// cache remembers principals by the whole token: a token that differs in one bit is
// another one. It is bounded by entries and by bytes and forgets what was not used
// lately (the clock algorithm: second chance), which lets a hit do with a read lock.
type cache struct {
	seed   maphash.Seed
	shards []shard
}

type shard struct {
	mu         sync.RWMutex
	entries    map[string]*entry
	ring       []*entry // all entries, in the order in which hand passes them
	hand       int
	bytes      int
	maxEntries int
	maxBytes   int
}

type entry struct {
	token     string
	principal *Principal
	version   uint64
	bytes     int
	index     int // in ring
	used      atomic.Bool
}

// newCache returns a cache for at most size tokens in at most bytes bytes.
func newCache(size, bytes int) *cache {
	n := shards
	if size < shards {
		n = 1 // so that a small bound is kept exactly
	}
	c := &cache{seed: maphash.MakeSeed(), shards: make([]shard, n)}
	for i := range c.shards {
		c.shards[i].entries = map[string]*entry{}
		c.shards[i].maxEntries = size / n
		c.shards[i].maxBytes = bytes / n
	}
	return c
}

// get returns the principal of a token, or nil if there is none for this version or it has
// expired. It does not allocate.
func (c *cache) get(token []byte, version uint64, now time.Time) *Principal {
	s := &c.shards[maphash.Bytes(c.seed, token)%uint64(len(c.shards))]
	s.mu.RLock()
	e := s.entries[string(token)]
	s.mu.RUnlock()
	if e == nil || e.version != version || !now.Before(e.principal.ExpiresAt) {
		return nil
	}
	if !e.used.Load() { // writing always would make processors fight over the line
		e.used.Store(true)
	}
	return e.principal
}

// put remembers a principal in place of what was remembered of the token before.
func (c *cache) put(token string, version uint64, now time.Time, p *Principal) {
	if !now.Before(p.ExpiresAt) {
		return // within the leeway: the verifier decides each time
	}
	e := &entry{token: token, principal: p, version: version, bytes: cost(token, p)}
	s := &c.shards[maphash.String(c.seed, token)%uint64(len(c.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.maxEntries < 1 || e.bytes > s.maxBytes {
		return
	}
	if old := s.entries[token]; old != nil {
		s.remove(old)
	}
	for len(s.ring) >= s.maxEntries || s.bytes+e.bytes > s.maxBytes {
		s.evict(version, now)
	}
	e.index = len(s.ring)
	s.ring = append(s.ring, e)
	s.entries[token] = e
	s.bytes += e.bytes
}

// evict removes the next entry that is of no use any more or was not used since the hand
// last passed it. There is at least one entry.
func (s *shard) evict(version uint64, now time.Time) {
	for {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		e := s.ring[s.hand]
		useless := e.version != version || !now.Before(e.principal.ExpiresAt)
		if useless || !e.used.Swap(false) {
			s.remove(e)
			return
		}
		s.hand++
	}
}

// remove takes an entry out; the last one of the ring takes its place.
func (s *shard) remove(e *entry) {
	last := len(s.ring) - 1
	s.ring[e.index] = s.ring[last]
	s.ring[e.index].index = e.index
	s.ring[last] = nil
	s.ring = s.ring[:last]
	delete(s.entries, e.token)
	s.bytes -= e.bytes
}

// size returns how many entries there are and what they cost.
func (c *cache) size() (entries, bytes int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		entries += len(s.ring)
		bytes += s.bytes
		s.mu.RUnlock()
	}
	return entries, bytes
}

// cost estimates the memory of an entry: the text, twice for what the claims repeat of
// it, and the structures around.
func cost(token string, p *Principal) int {
	const fixed, item = 512, 64
	items := len(p.Scopes) + len(p.Roles) + len(p.RoleNames) + len(p.WorkspaceIDs)
	return fixed + 2*len(token) + item*items
}
