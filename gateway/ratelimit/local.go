package ratelimit

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/materi/shield/config"
)

const (
	localShards = 64
	// maxLocal is how many budgets are kept in memory, about 20 MiB.
	maxLocal   = 1 << 18
	sweepEvery = 30 * time.Second
	// sample is how many budgets are compared when one has to go.
	sample = 8
)

// local keeps budgets in memory, by the algorithm of redis_rate: GCRA, which needs nothing
// of a budget but the theoretical arrival time (tat) of the next request if all came
// evenly spaced.
type local struct{ shards [localShards]localShard }

type localShard struct {
	mu   sync.Mutex
	tats map[budgetKey]time.Time
	max  int
}

func newLocal(size int) *local {
	l := &local{}
	for i := range l.shards {
		l.shards[i].tats = map[budgetKey]time.Time{}
		l.shards[i].max = max(1, size/localShards)
	}
	return l
}

// take takes one from a budget.
func (l *local) take(limit config.RateLimit, budget budgetKey, now time.Time) Decision {
	interval := limit.Period / time.Duration(limit.Limit)
	tolerance := multiply(limit.Period, limit.Burst, limit.Limit)
	s := &l.shards[binary.BigEndian.Uint64(budget[:8])%localShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	tat, known := s.tats[budget]
	if !known || tat.Before(now) {
		tat = now
	}
	next := tat.Add(interval)
	d := Decision{Name: limit.Name, Limit: limit.Limit, At: now}
	// room is how far the budget is from being overdrawn after this request.
	room := tolerance - next.Sub(now)
	if room < 0 {
		d.RetryAfter, d.ResetAfter = -room, tat.Sub(now)
		return d
	}
	if !known && len(s.tats) >= s.max {
		s.makeRoom(now)
	}
	s.tats[budget] = next
	d.Allowed = true
	d.Remaining = min(int(room/interval), limit.Limit)
	d.ResetAfter = next.Sub(now)
	return d
}

// multiply returns d*n/m without an overflow on the way.
func multiply(d time.Duration, n, m int) time.Duration {
	whole, rest := time.Duration(n/m), time.Duration(n%m)
	return d*whole + time.Duration(float64(d)*float64(rest)/float64(m))
}

// makeRoom forgets one budget: one that is whole again if it finds one, else the one that
// was drawn on the least of a few. Who asks too often is remembered longest, so nobody
// buys a fresh budget by filling the memory with others.
func (s *localShard) makeRoom(now time.Time) {
	var victim budgetKey
	var least time.Time
	looked := 0
	for budget, tat := range s.tats { // begins at a random place
		if looked == 0 || tat.Before(least) {
			victim, least = budget, tat
		}
		if looked++; looked == sample || !least.After(now) {
			break
		}
	}
	delete(s.tats, victim)
}

// sweep forgets the budgets that are whole again.
func (l *local) sweep(now time.Time) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for budget, tat := range s.tats {
			if !tat.After(now) {
				delete(s.tats, budget)
			}
		}
		s.mu.Unlock()
	}
}

// size returns how many budgets are kept.
func (l *local) size() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.tats)
		s.mu.Unlock()
	}
	return n
}
