package process

import (
	"sync"

	"github.com/materi/shield/gateway/plugin/sandbox"
)

// remembered is how many calls a process may still speak of after they ended: what it prints
// comes later than its answer.
const remembered = 8

// listeners know what a process was shown, so that none of it is repeated in the words of
// the process: those that it prints, and those with which it breaks down. They reach the log
// by ways that know of no call, such as that of the supervisor, or of another call that ended
// with the process.
type listeners struct {
	mu      sync.Mutex
	running map[*sandbox.Listener]struct{}
	ended   []*sandbox.Listener // the last ones, the oldest first
}

func newListeners() *listeners { return &listeners{running: make(map[*sandbox.Listener]struct{})} }

// add adds the host of a call, if it is a listener. What it returns must be called at the end
// of the call.
func (l *listeners) add(host sandbox.Host) (end func()) {
	listener, ok := host.(sandbox.Listener)
	if !ok {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[&listener] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.running, &listener)
		l.ended = append(l.ended, &listener)
		l.ended = append([]*sandbox.Listener(nil), l.ended[max(0, len(l.ended)-remembered):]...)
	}
}

// redact returns what the process said without what it was shown.
func (l *listeners) redact(text string) string {
	for _, listener := range l.all() {
		text = (*listener).Redact(text)
	}
	return text
}

func (l *listeners) all() []*sandbox.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := append([]*sandbox.Listener(nil), l.ended...)
	for listener := range l.running {
		all = append(all, listener)
	}
	return all
}
