package ratelimit

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/edge"
)

func newRequest(subject string) *fasthttp.RequestCtx {
	var req fasthttp.Request
	req.SetRequestURI("http://api.test/")
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&req, nil, nil)
	if subject != "" {
		ctx.SetUserValue("subject", subject)
	}
	return ctx
}

func headersOf(ctx *fasthttp.RequestCtx) map[string]string {
	out := map[string]string{}
	for name, value := range ctx.Response.Header.All() {
		out[string(name)] = string(value)
	}
	delete(out, "Content-Type")
	return out
}

func nothing(*fasthttp.RequestCtx) error { return nil }

func TestStagesAskEachLimitOnce(t *testing.T) {
	limits := []config.RateLimit{
		{Name: "by-ip", Limit: 10, Period: time.Hour, Key: []string{"ip"}},
		{Name: "by-subject", Limit: 10, Period: time.Hour, Key: []string{"subject", "route"}},
	}
	l := newLimiter(t, newClock(), nil, "", limits...)
	names := []string{"by-ip", "by-subject"}
	var at []int
	inner, err := l.After(names, func(*fasthttp.RequestCtx) error { at = append(at, l.local.size()); return nil })
	if err != nil {
		t.Fatal(err)
	}
	outer, err := l.Before(names, func(ctx *fasthttp.RequestCtx) error { at = append(at, l.local.size()); return inner(ctx) })
	if err != nil {
		t.Fatal(err)
	}
	if err := outer(newRequest("u")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 2}, at); diff != "" {
		t.Errorf("budgets asked at each stage (-want +got):\n%s", diff)
	}
	if _, err := l.Before([]string{"other"}, nothing); !errors.Is(err, ErrUnknown) {
		t.Errorf("Before(unknown) = %v, want ErrUnknown", err)
	}
}

func TestARequestThatAsksFirstIsCountedOnce(t *testing.T) {
	l := newLimiter(t, newClock(), nil, "", config.RateLimit{Name: "i", Limit: 2, Period: time.Hour, Key: []string{"ip"}})
	admit, err := l.Before([]string{"i"}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	serve, err := l.Before([]string{"i"}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ctx := newRequest("")
		if err := errors.Join(admit(ctx), serve(ctx)); err != nil {
			t.Errorf("request within the limit: %v", err)
		}
	}
	if err := admit(newRequest("")); err == nil {
		t.Error("a request over the limit was asked to go on")
	}
}

func TestSubjectsHaveBudgetsOfTheirOwn(t *testing.T) {
	l := newLimiter(t, newClock(), nil, "", config.RateLimit{Name: "s", Limit: 1, Period: time.Hour, Key: []string{"subject"}})
	h, err := l.After([]string{"s"}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"u1", "u2", "", "0.0.0.0"} {
		if err := h(newRequest(subject)); err != nil {
			t.Errorf("first request of %q: %v", subject, err)
		}
		if err := h(newRequest(subject)); err == nil {
			t.Errorf("second request of %q was let through", subject)
		}
	}
}

func TestAnswerShowsTheTightestLimit(t *testing.T) {
	l := newLimiter(t, newClock(), nil, "",
		config.RateLimit{Name: "wide", Limit: 100, Period: time.Hour, Key: []string{"ip"}},
		config.RateLimit{Name: "tight", Limit: 5, Period: 5 * time.Second, Key: []string{"ip"}},
		config.RateLimit{Name: "mine", Limit: 50, Period: time.Hour, Key: []string{"subject"}},
	)
	want := map[string]string{ // fasthttp spells names in its own way
		"Ratelimit-Limit": "5", "Ratelimit-Remaining": "4", "Ratelimit-Reset": "1",
		"X-Ratelimit-Limit": "5", "X-Ratelimit-Remaining": "4", "X-Ratelimit-Reset": "1795262401",
	}
	names := []string{"wide", "tight", "mine"}
	inner, err := l.After(names, func(ctx *fasthttp.RequestCtx) error {
		ctx.Response.Reset() // as when the answer of an upstream is taken over
		ctx.Response.Header.Set("RateLimit-Limit", "upstream's")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.Before(names, inner)
	if err != nil {
		t.Fatal(err)
	}
	ctx := newRequest("u")
	if err := h(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, headersOf(ctx)); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestRefusalSaysWhenToComeBack(t *testing.T) {
	l := newLimiter(t, newClock(), nil, "", config.RateLimit{Name: "x", Limit: 2, Period: 3 * time.Second, Key: []string{"ip"}})
	reached := 0
	h, err := l.Before([]string{"x"}, func(*fasthttp.RequestCtx) error { reached++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h(newRequest("")); err != nil {
			t.Fatal(err)
		}
	}
	err = h(newRequest(""))
	e, ok := errors.AsType[*edge.Error](err)
	if !ok || e.Status != 429 || e.Code != "RATE_LIMIT_EXCEEDED" || reached != 2 {
		t.Fatalf("the third request: %v, %d reached", err, reached)
	}
	details, err := json.Marshal(e.Details)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"limit":2,"remaining":0,"reset_at":"2026-11-21T12:00:03Z","retry_after":2}`; string(details) != want {
		t.Errorf("details = %s, want %s", details, want)
	}
	got := map[string]string{}
	for _, h := range e.Header {
		got[h[0]] = h[1]
	}
	want := map[string]string{
		"RateLimit-Limit": "2", "RateLimit-Remaining": "0", "RateLimit-Reset": "3", "Retry-After": "2",
		"X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795262403",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestErrorAnswersShowTheLimit(t *testing.T) {
	l := newLimiter(t, newClock(), nil, "", config.RateLimit{Name: "x", Limit: 9, Period: time.Hour, Key: []string{"ip"}})
	cause := errors.New("cause")
	common := edge.NotFound("NOT_FOUND", "", cause)
	for status, inner := range map[int]error{404: common, 500: cause} {
		h, err := l.Before([]string{"x"}, Headers(func(*fasthttp.RequestCtx) error { return inner }))
		if err != nil {
			t.Fatal(err)
		}
		got := h(newRequest(""))
		e, ok := errors.AsType[*edge.Error](got)
		if !ok || e.Status != status || len(e.Header) != 6 || !errors.Is(got, cause) {
			t.Errorf("%v: %+v", inner, e)
		}
	}
	h := Headers(func(ctx *fasthttp.RequestCtx) error { return l.Check(ctx, "x", "account") })
	ctx := newRequest("")
	if err := h(ctx); err != nil || string(ctx.Response.Header.Peek("RateLimit-Remaining")) != "8" {
		t.Errorf("a handler that checks for itself: %v, %v", err, headersOf(ctx))
	}
	if len(common.Header) != 0 {
		t.Error("an error that others share was changed")
	}
}
