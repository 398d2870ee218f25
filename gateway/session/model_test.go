package session_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/materi/shield/gateway/session"
)

// party is whoever holds tokens of a session: an honest person with some tabs and a bad
// line, or somebody who copied a token.
type party struct {
	token      string
	generation int64 // of the access token it holds; 0: none
}

// world is one session and those who hold its tokens. It remembers what happened in its own
// words, so that the keeper is judged by the rule of the interface, not by its own code.
type world struct {
	t         *testing.T
	b         *bench
	r         *rand.Rand
	v         session.Session
	newest    int64            // newest generation that was handed out
	newestAt  time.Time        // when
	usedUpTo  int64            // newest generation seen at work
	made      map[int64]string // what each generation's token is
	ofToken   map[string]int64 // and back
	dead      bool             // the family was revoked
	mustBeOff func(int64) bool // whether presenting a generation must end the family
}

func newWorld(t *testing.T, seed uint64) (*world, *party) {
	t.Helper()
	b := newBench(t)
	v, token := b.login(t, ann)
	w := &world{t: t, b: b, r: rand.New(rand.NewPCG(seed, 7)), v: v, newest: 1, newestAt: b.now(),
		made: map[int64]string{1: token}, ofToken: map[string]int64{token: 1}}
	w.mustBeOff = func(g int64) bool {
		late := b.now().Sub(w.newestAt) > grace
		return g < w.newest-1 || g == w.newest-1 && late && w.usedUpTo >= w.newest
	}
	return w, &party{token: token, generation: 1}
}

// refresh presents a party's token and checks the answer against the rule. The answer may be
// lost on the way.
func (w *world) refresh(p *party, lost bool) error {
	w.t.Helper()
	g := w.ofToken[p.token]
	off := w.mustBeOff(g)
	v, next, err := w.b.Refresh(w.t.Context(), p.token)
	switch {
	case w.dead:
		if !errors.Is(err, session.ErrRevoked) {
			w.t.Fatalf("Refresh() of a dead family = %v, want ErrRevoked", err)
		}
		return err
	case off:
		if !errors.Is(err, session.ErrReused) {
			w.t.Fatalf("Refresh() of generation %d of %d (used %d) = %v, want ErrReused", g, w.newest, w.usedUpTo, err)
		}
		w.dead = true
		return err
	case err != nil:
		w.t.Fatalf("Refresh() of generation %d of %d (used %d) = %v, want a successor", g, w.newest, w.usedUpTo, err)
	}
	if v.Counter != g+1 {
		w.t.Fatalf("successor of generation %d is of generation %d", g, v.Counter)
	}
	if before, made := w.made[v.Counter]; made && before != next {
		w.t.Fatalf("generation %d has two tokens", v.Counter)
	}
	w.made[v.Counter], w.ofToken[next] = next, v.Counter
	if v.Counter > w.newest {
		w.newest, w.newestAt = v.Counter, w.b.now()
	}
	if !lost {
		p.token, p.generation = next, v.Counter
	}
	return nil
}

// use is a request with a party's access token.
func (w *world) use(p *party) {
	w.t.Helper()
	w.b.use(w.t, w.v.ID, p.generation)
	w.usedUpTo = max(w.usedUpTo, p.generation)
}

// someTime passes: often less than the grace, and never so much that the newest token, which
// a person may be trying to get again and again, expires.
func (w *world) someTime() {
	d := time.Duration(w.r.Int64N(int64(grace)))
	if w.r.IntN(2) == 0 {
		d = time.Duration(w.r.Int64N(int64(6 * time.Hour)))
	}
	if w.b.now().Add(d).Before(w.newestAt.Add(ttl - time.Hour)) {
		w.b.advance(d)
	}
}

// An honest person loses answers, opens tabs that refresh at the same moment, waits and works,
// in any order, and is never logged out.
func TestAnHonestClientIsNeverLoggedOut(t *testing.T) {
	for seed := range uint64(300) {
		w, p := newWorld(t, seed)
		for range 60 {
			switch w.r.IntN(5) {
			case 0:
				w.refresh(p, false)
			case 1:
				for range 1 + w.r.IntN(3) {
					w.refresh(p, true)
					w.someTime()
				}
			case 2: // tabs send the token that they all hold; the answers come in any order
				tab := *p
				w.refresh(p, w.r.IntN(2) == 0)
				w.b.advance(time.Duration(w.r.Int64N(int64(grace))))
				w.refresh(&tab, w.r.IntN(2) == 0)
				if tab.generation > p.generation {
					*p = tab
				}
			case 3:
				w.use(p)
			case 4:
				w.someTime()
			}
			if w.dead {
				t.Fatalf("seed %d: logged out", seed)
			}
		}
		if w.b.store.sessions[w.v.ID].Counter != w.newest {
			t.Fatalf("seed %d: counter is not what was handed out", seed)
		}
	}
}

// A thief copies a token once. Both go on as clients do: refresh, work, wait. As soon as one
// of them has worked with a successor, the other's next refresh ends it for both; there is no
// order in which both stay in.
func TestAThiefIsFoundAtTheFirstReuse(t *testing.T) {
	for seed := range uint64(300) {
		w, honest := newWorld(t, seed)
		for range w.r.IntN(6) { // some history
			w.refresh(honest, false)
			w.use(honest)
			w.b.advance(time.Minute)
		}
		thief := &party{token: honest.token, generation: honest.generation}
		rounds := 0
		for ; !w.dead && rounds < 5; rounds++ {
			both := []*party{honest, thief}
			w.r.Shuffle(2, func(i, j int) { both[i], both[j] = both[j], both[i] })
			for _, p := range both {
				if w.refresh(p, false) == nil {
					w.use(p)
				}
				w.b.advance(grace + time.Duration(w.r.Int64N(int64(time.Hour))))
			}
		}
		if !w.dead || rounds != 1 {
			t.Fatalf("seed %d: both stayed in for %d rounds", seed, rounds)
		}
		for _, p := range []*party{honest, thief} {
			if err := w.refresh(p, false); !errors.Is(err, session.ErrRevoked) {
				t.Fatalf("seed %d: Refresh() afterwards = %v, want ErrRevoked", seed, err)
			}
		}
		if !w.b.Revoked(w.v.ID) {
			t.Fatalf("seed %d: access tokens are still accepted", seed)
		}
	}
}

// Any token ever handed out is presented in any order; every answer is the rule's.
func TestEveryInterleavingFollowsTheRule(t *testing.T) {
	for seed := range uint64(500) {
		w, p := newWorld(t, seed)
		for range 40 {
			switch w.r.IntN(8) {
			case 0:
				old := &party{token: w.made[1+w.r.Int64N(w.newest)]}
				w.refresh(old, true)
			case 1, 2:
				w.use(p)
			case 3:
				w.someTime()
			case 4:
				w.refresh(p, true)
			default:
				w.refresh(p, false)
			}
		}
	}
}
