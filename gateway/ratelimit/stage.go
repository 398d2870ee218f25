package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/edge"
)

const codeExceeded = "RATE_LIMIT_EXCEEDED"

// Before returns next behind those of the named limits that do not ask who the sender is:
// the stage stands in front of access, so that failing to authenticate costs, too. A request
// is counted at the first such stage that it comes to: one that asks before it sends its
// body ("Expect: 100-continue") meets access twice.
func (l *Limiter) Before(names []string, next edge.Handler) (edge.Handler, error) {
	return l.stage(names, false, next)
}

// After returns next behind those of the named limits that ask who the sender is. The
// stage stands behind access. Who sends without a token is counted by their address.
func (l *Limiter) After(names []string, next edge.Handler) (edge.Handler, error) {
	return l.stage(names, true, next)
}

func (l *Limiter) stage(names []string, bySubject bool, next edge.Handler) (edge.Handler, error) {
	var limits []config.RateLimit
	for _, name := range names {
		limit, ok := l.limits[name]
		if !ok {
			return nil, fmt.Errorf("%w: %q", ErrUnknown, name)
		}
		if slices.Contains(limit.Key, "subject") == bySubject {
			limits = append(limits, limit)
		}
	}
	if len(limits) == 0 {
		return next, nil
	}
	return Headers(func(ctx *fasthttp.RequestCtx) error {
		if !bySubject {
			if ctx.UserValue(countedKey{}) != nil {
				return next(ctx)
			}
			ctx.SetUserValue(countedKey{}, true)
		}
		for _, limit := range limits {
			if err := l.Check(ctx, limit.Name, l.parts(ctx, limit)...); err != nil {
				return err
			}
		}
		return next(ctx)
	}), nil
}

type countedKey struct{}

// Headers returns next with the headers of the limits on its answer, whatever the answer
// is: an error begins anew, and the answer of an upstream replaces all headers. A handler
// that calls [Limiter.Check] stands behind it.
func Headers(next edge.Handler) edge.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		err := next(ctx)
		d, ok := ctx.UserValue(shownKey{}).(*Decision)
		switch {
		case !ok:
			return err
		case err != nil:
			return d.addTo(err)
		}
		for _, h := range d.headers() {
			ctx.Response.Header.Set(h[0], h[1])
		}
		return nil
	}
}

// parts names the budget of a request under a limit, by the limit's key. Each part says
// what it is, so that a subject cannot pose as an address.
func (l *Limiter) parts(ctx *fasthttp.RequestCtx, limit config.RateLimit) []string {
	parts := make([]string, 0, 2*len(limit.Key))
	for _, kind := range limit.Key {
		value := ""
		switch kind {
		case "ip":
			value = IPKey(edge.ClientIP(ctx))
		case "route":
			value = edge.RecordOf(ctx).Endpoint
		case "subject":
			if value = l.subject(ctx); value == "" {
				kind, value = "ip", IPKey(edge.ClientIP(ctx))
			}
		}
		parts = append(parts, kind, value)
	}
	return parts
}

// Check takes one from the budget that parts name under a limit, notes for [Headers] where
// the client stands, and returns the 429 answer if the budget is spent.
func (l *Limiter) Check(ctx *fasthttp.RequestCtx, name string, parts ...string) error {
	// Not ctx: it ends when the server begins to shut down, while this request still counts.
	// A question to Redis has a time limit of its own.
	d, err := l.Allow(context.Background(), name, parts...)
	if err != nil {
		return err
	}
	note(ctx, d)
	if !d.Allowed {
		return d.refusal()
	}
	return nil
}

type shownKey struct{}

// note remembers the decision that binds the client most: one that refuses, else the one
// with the least left.
func note(ctx *fasthttp.RequestCtx, d Decision) {
	shown, ok := ctx.UserValue(shownKey{}).(*Decision)
	if !ok || d.tighter(*shown) {
		ctx.SetUserValue(shownKey{}, &d)
	}
}

func (d Decision) tighter(other Decision) bool {
	if d.Allowed != other.Allowed {
		return !d.Allowed
	}
	if d.Remaining != other.Remaining {
		return d.Remaining < other.Remaining
	}
	return d.ResetAfter > other.ResetAfter
}

// addTo adds the headers to an error answer, unless it has them: two stages may pass the
// same error on. An error that is not an answer yet is an internal one, because routing
// lies before the limits.
func (d Decision) addTo(err error) error {
	e, ok := errors.AsType[*edge.Error](err)
	if !ok {
		e = edge.Internal(err)
	}
	headers := d.headers()
	if slices.ContainsFunc(e.Header, func(h [2]string) bool { return h[0] == headers[0][0] }) {
		return err
	}
	limited := *e // e may be a value that answers share
	if err != error(e) {
		limited.Cause = err
	}
	limited.Header = slices.Concat(e.Header, headers)
	return &limited
}

func (d Decision) headers() [][2]string {
	limit, remaining := strconv.Itoa(d.Limit), strconv.Itoa(d.Remaining)
	return [][2]string{
		{"RateLimit-Limit", limit},
		{"RateLimit-Remaining", remaining},
		{"RateLimit-Reset", strconv.FormatInt(seconds(d.ResetAfter), 10)},
		{"X-RateLimit-Limit", limit},
		{"X-RateLimit-Remaining", remaining},
		{"X-RateLimit-Reset", strconv.FormatInt(d.resetAt().Unix(), 10)},
	}
}

// resetAt is when the budget is whole again, rounded up to a second.
func (d Decision) resetAt() time.Time {
	at := d.At.Add(d.ResetAfter)
	if whole := at.Truncate(time.Second); !whole.Equal(at) {
		at = whole.Add(time.Second)
	}
	return at.UTC()
}

type detailsJSON struct {
	Limit      int       `json:"limit"`
	Remaining  int       `json:"remaining"`
	ResetAt    time.Time `json:"reset_at"`
	RetryAfter int64     `json:"retry_after"` // seconds
}

// refusal is the 429 answer. It carries the headers itself, because an error answer begins
// with none.
func (d Decision) refusal() *edge.Error {
	retry := max(1, seconds(d.RetryAfter))
	e := edge.NewError(fasthttp.StatusTooManyRequests, codeExceeded, "Too many requests. Try again later.", fmt.Errorf("limit %s", d.Name))
	e.Details = detailsJSON{Limit: d.Limit, Remaining: d.Remaining, ResetAt: d.resetAt(), RetryAfter: retry}
	e.Header = append(d.headers(), [2]string{fasthttp.HeaderRetryAfter, strconv.FormatInt(retry, 10)})
	return e
}

// seconds rounds up: who comes back then is let in.
func seconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }
