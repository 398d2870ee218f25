package plugin

import (
	"context"
	"errors"
	"time"

	"github.com/materi/shield/gateway/plugin/grant"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// session serves what a provider asks of the host during one call. What it may ask was
// settled when its module was linked. It belongs to the goroutine of the call.
type session struct {
	host     *Host
	provider string
	call     wire.Call
	secrets  []string
	outside  *grant.Call
	kv       *staged
	records  int
	hashes   int

	expired    bool  // the time of the call was over in a function of the host
	failure    error // the host could not do its part: the call has failed
	conflicted bool  // a comparison did not hold: the call may be made anew
}

func (h *Host) newSession(g *generation, c wire.Call) *session {
	name := g.cfg.Name
	return &session{
		host: h, provider: name, call: c, secrets: g.grant.Secrets(), outside: g.grant.Call(),
		kv: newStaged(h.kv, name, h.now),
	}
}

// maxHashes is how many passwords one call may hash or check. Each takes a processor of the
// gateway for some ten milliseconds, in a queue that all providers share.
const maxHashes = 16

// Serve answers one request of the module.
func (s *session) Serve(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	out, err := s.serve(ctx, f, in)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, sdk.ErrConflict):
		s.conflicted = true
	case ctx.Err() != nil:
		s.expired = true
	case wire.Code(err) == wire.Code(wire.ErrHost):
		s.failure = errors.Join(s.failure, err)
	}
	return nil, err
}

func (s *session) serve(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	switch f {
	case wire.KVGet:
		return s.get(ctx, in)
	case wire.KVSet, wire.KVCompareAndSet:
		return nil, s.put(ctx, f, in)
	case wire.KVDelete:
		key, err := wire.DecodeKey(in)
		if err != nil {
			return nil, err
		}
		return nil, s.kv.Delete(ctx, key)
	case wire.PasswordHash, wire.PasswordVerify:
		s.hashes++
		if s.hashes > maxHashes {
			return nil, sdk.ErrExhausted
		}
		if f == wire.PasswordHash {
			return s.hash(ctx, in)
		}
		return s.verify(ctx, in)
	case wire.PasswordCommon:
		return s.common(ctx, in)
	case wire.LogWrite:
		return nil, s.log(ctx, in)
	}
	return s.outside.Serve(ctx, f, in)
}

func (s *session) get(ctx context.Context, in []byte) ([]byte, error) {
	key, err := wire.DecodeKey(in)
	if err != nil {
		return nil, err
	}
	entry, found, err := s.kv.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return wire.EncodeEntry(entry, found), nil
}

func (s *session) put(ctx context.Context, f wire.Function, in []byte) error {
	p, err := wire.DecodePut(in)
	if err != nil {
		return err
	}
	if f == wire.KVSet {
		return s.kv.Set(ctx, p.Key, p.Value, p.TTL)
	}
	return s.kv.CompareAndSet(ctx, p.Key, p.Version, p.Value, p.TTL)
}

func (s *session) hash(ctx context.Context, in []byte) ([]byte, error) {
	password, err := wire.DecodePassword(in)
	if err != nil {
		return nil, err
	}
	hash, err := s.host.passwords.Hash(ctx, password)
	if err != nil {
		return nil, err
	}
	return wire.EncodeHash(hash), nil
}

func (s *session) verify(ctx context.Context, in []byte) ([]byte, error) {
	hash, password, err := wire.DecodeVerify(in)
	if err != nil {
		return nil, err
	}
	ok, stale, err := s.host.passwords.Verify(ctx, hash, password)
	if err != nil {
		return nil, err
	}
	return wire.EncodeVerdict(ok, stale), nil
}

func (s *session) common(ctx context.Context, in []byte) ([]byte, error) {
	password, err := wire.DecodePassword(in)
	if err != nil {
		return nil, err
	}
	common, err := s.host.passwords.Common(ctx, password)
	if err != nil {
		return nil, err
	}
	return wire.EncodeCommon(common), nil
}

func (s *session) log(ctx context.Context, in []byte) error {
	r, err := wire.DecodeRecord(in)
	if err != nil {
		return err
	}
	s.records++
	if s.records > maxRecords {
		return sdk.ErrTooLarge
	}
	s.host.scribe.write(ctx, s.provider, r, s.redactor())
	return nil
}

// Stderr puts what a plugin wrote before it broke down into the log.
func (s *session) Stderr(ctx context.Context, text string) {
	s.host.log.WarnContext(ctx, "plugin wrote to standard error and failed", "provider", s.provider, "stderr", s.redactor().text(text))
}

// Redact returns what the plugin says without what the call has shown to it.
func (s *session) Redact(text string) string { return s.redactor().text(text) }

// words is an error that tells of a plugin in the plugin's own words, without what no log
// may hold.
type words struct {
	error
	text string
}

func (s *session) words(err error) error { return words{err, s.redactor().text(err.Error())} }

// Error returns what may be told.
func (w words) Error() string { return w.text }

// Unwrap returns the error as it was.
func (w words) Unwrap() error { return w.error }

// redactor is made when something is said, which most calls do not.
func (s *session) redactor() redactor {
	return redactorOf(s.call.Flow, s.call.Request, s.secrets)
}

// expiry returns when an entry that is written now ends; zero is never.
func expiry(now time.Time, ttl time.Duration) time.Time {
	if ttl == 0 {
		return time.Time{}
	}
	return now.Add(ttl)
}
