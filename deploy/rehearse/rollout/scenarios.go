package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// calm is how long people work on after a scenario has done what it does.
const calm = 2 * time.Second

// scenario is something that is done to the installation. Play returns which requests may fail
// because of it, nil for none, or an error if it did not go as it should.
type scenario struct {
	name string
	play func(ctx context.Context) (may func(fault) bool, err error)
}

func (in *installation) scenarios(m *mix) []scenario {
	planned := func(play func(context.Context) error) func(context.Context) (func(fault) bool, error) {
		return func(ctx context.Context) (func(fault) bool, error) { return nil, play(ctx) }
	}
	return []scenario{
		{"nothing", planned(func(ctx context.Context) error { return pause(ctx, 6*time.Second) })},
		{"rolling restart", planned(in.restartAll)},
		{"config rollout", planned(func(ctx context.Context) error { return in.rollOutConfig(ctx, m) })},
		{"key rotation", planned(func(ctx context.Context) error { return in.rotateKeys(ctx, m) })},
		{"plugin swap", planned(in.swapPlugin)},
		{"bad config", planned(in.refuseConfig)},
		{"gateway killed", in.killGateway},
		{"redis gone", planned(in.loseRedis)},
		{"postgres failover", in.failOver},
	}
}

// restartAll restarts one gateway after another, each as an orchestrator does it.
func (in *installation) restartAll(ctx context.Context) error {
	for _, g := range in.gates {
		if err := in.restart(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

func (in *installation) restart(ctx context.Context, g *gate) error {
	if err := g.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := await(ctx, "haproxy spares "+g.name, func() bool { return !in.up(g) }); err != nil {
		return err
	}
	if !g.process.runs() {
		return fmt.Errorf("%s ended before haproxy knew", g.name)
	}
	if err := g.process.end(ctx); err != nil {
		return fmt.Errorf("%s ended with %w", g.name, err)
	}
	return in.bringBack(ctx, g)
}

// bringBack starts a gateway and waits until it has its share of the requests.
func (in *installation) bringBack(ctx context.Context, g *gate) error {
	if err := in.startGate(g, in.config); err != nil {
		return err
	}
	return await(ctx, "haproxy has "+g.name+" back", func() bool { return in.up(g) })
}

// rollOutConfig gives the gateways a file with one more route.
func (in *installation) rollOutConfig(ctx context.Context, m *mix) error {
	ask := func(want int) error {
		token, err := m.token(ctx)
		if err != nil {
			return err
		}
		for _, g := range in.gates {
			if got := in.status(ctx, g, "/api/drafts/1", token); got != want {
				return fmt.Errorf("%s answers %d on the new route, want %d", g.name, got, want)
			}
		}
		return nil
	}
	if err := ask(http.StatusNotFound); err != nil {
		return err
	}
	err := in.configure(func(text string) string {
		return text + "  - {name: drafts, prefix: /api/drafts, upstream: demo, auth: required}\n"
	})
	if err != nil {
		return err
	}
	if _, err := run(in.shield(ctx, "config", "check", in.config)); err != nil {
		return err
	}
	if err := in.restartAll(ctx); err != nil {
		return err
	}
	return ask(http.StatusOK)
}

// token returns an access token that was made just now.
func (m *mix) token(ctx context.Context) (string, error) {
	somebody := m.people[enrolled-1] // who has a password, and is at work
	p := person{m: m, name: somebody.name, email: somebody.email, password: somebody.password, http: m.people[0].http}
	err := p.login(ctx)
	return p.access, err
}

// rotateKeys makes a new key, waits until it signs, and uses tokens of before.
func (in *installation) rotateKeys(ctx context.Context, m *mix) error {
	before, err := m.token(ctx)
	if err != nil {
		return err
	}
	if _, err := run(in.shield(ctx, "keys", "rotate", "-config", in.config)); err != nil {
		return err
	}
	var after string
	err = await(ctx, "a new key signs", func() bool {
		after, err = m.token(ctx)
		return err == nil && keyOf(after) != keyOf(before)
	})
	if err != nil {
		return err
	}
	for _, g := range in.gates {
		for name, token := range map[string]string{"of before": before, "of now": after} {
			if got := in.status(ctx, g, "/api/notes/1", token); got != http.StatusOK {
				return fmt.Errorf("%s answers %d to a token %s", g.name, got, name)
			}
		}
	}
	return nil
}

// keyOf returns the head of a token, which differs with its key.
func keyOf(token string) string {
	head, _, _ := strings.Cut(token, ".")
	return head
}

// swapPlugin puts a new file in the place of a plugin's and tells the gateways.
func (in *installation) swapPlugin(ctx context.Context) error {
	if err := os.Rename(in.path("next/email.wasm"), in.path("plugins/email.wasm")); err != nil {
		return err
	}
	return in.reload(ctx, `materi_config_reloads_total{status="success"}`, func(g *gate) error {
		if got := in.metric(ctx, g, `materi_plugin_generation{provider="email"}`); got != "2" {
			return fmt.Errorf("generation %q of the plugin serves at %s", got, g.name)
		}
		log, err := os.ReadFile(in.path(g.name + ".log"))
		if err != nil {
			return err
		}
		if !strings.Contains(string(log), newVersion) {
			return fmt.Errorf("%s does not say that it has the new plugin", g.name)
		}
		return nil
	})
}

// reload sends SIGHUP to one gateway after another, waits each time until it has counted one
// more of a metric, and asks something of it then.
func (in *installation) reload(ctx context.Context, metric string, then func(*gate) error) error {
	for _, g := range in.gates {
		before := in.metric(ctx, g, metric)
		if err := g.process.Process.Signal(syscall.SIGHUP); err != nil {
			return err
		}
		err := await(ctx, g.name+" has counted "+metric, func() bool {
			now := in.metric(ctx, g, metric)
			return now != "" && now != before
		})
		if err != nil {
			return err
		}
		if err := then(g); err != nil {
			return err
		}
	}
	return nil
}

// refuseConfig tries to roll out configurations that are wrong, in every way there is.
func (in *installation) refuseConfig(ctx context.Context) error {
	good, err := os.ReadFile(in.config)
	if err != nil {
		return err
	}
	faulty := func(text string) string { return strings.Replace(text, "auth: required", "auth: requierd", 1) }
	if err := in.configure(faulty); err != nil {
		return err
	}
	// Somebody checks it.
	if out, err := run(in.shield(ctx, "config", "check", in.config)); err == nil || !strings.Contains(out, "routes[0].auth") {
		return fmt.Errorf("config check said %q", out)
	}
	// Nobody does: a new process ends at once,
	if err := in.surge(ctx, func(g *gate) error {
		if err := g.process.end(ctx); err == nil {
			return errors.New("a gateway with a faulty file ended as if all were well")
		}
		return nil
	}); err != nil {
		return err
	}
	// and one that runs goes on as it is.
	if err := in.reload(ctx, `materi_config_reloads_total{status="refused"}`, func(*gate) error { return nil }); err != nil {
		return err
	}
	// The file is good, and what it names is not there: the new process never has traffic.
	missing := func(text string) string { return strings.Replace(text, "/email.wasm", "/emial.wasm", 1) }
	if err := in.configure(missing); err != nil {
		return err
	}
	if err := in.surge(ctx, func(g *gate) error {
		if err := await(ctx, "the new gateway answers", func() bool { return in.status(ctx, g, "/health/", "") == http.StatusOK }); err != nil {
			return err
		}
		for range 30 {
			if got := in.status(ctx, g, "/ready/", ""); got != http.StatusServiceUnavailable {
				return fmt.Errorf("a gateway without its plugin says %d on /ready/", got)
			}
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := os.WriteFile(in.config, good, 0o600); err != nil {
		return err
	}
	return in.reload(ctx, `materi_config_reloads_total{status="success"}`, func(*gate) error { return nil })
}

// surge starts one gateway more than there are, and ends it.
func (in *installation) surge(ctx context.Context, during func(*gate) error) error {
	address, err := in.freePort()
	if err != nil {
		return err
	}
	g := &gate{name: "gateway-4", address: address}
	if err := in.startGate(g, in.config); err != nil {
		return err
	}
	defer g.process.kill()
	return during(g)
}

// killGateway kills a gateway and starts it again some time later. What may fail is what was
// in flight on it: haproxy says 502 for it, or where a connection has served before closes that
// without a word, so that the client may decide whether to ask again (RFC 9110 §9.2.2).
func (in *installation) killGateway(ctx context.Context) (func(fault) bool, error) {
	g := in.gates[1]
	others := func() string { return in.told(in.gates[0], "eresp") + " " + in.told(in.gates[2], "eresp") }
	before, killed := others(), time.Now()
	g.process.kill()
	dead := time.Now() // and all of its connections are closed
	if err := pause(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	if err := in.bringBack(ctx, g); err != nil {
		return nil, err
	}
	if after := others(); after != before {
		return nil, fmt.Errorf("the other gateways failed, too: haproxy counted %s errors, and then %s", before, after)
	}
	return func(f fault) bool {
		its := f.gateway == g.name || f.kind == broken
		return its && f.began.Before(dead) && f.ended.After(killed)
	}, nil
}

// loseRedis kills Redis and starts an empty one in its place.
func (in *installation) loseRedis(ctx context.Context) (err error) {
	degraded := func(want string) error {
		for _, g := range in.gates {
			err := await(ctx, g.name+" has materi_ratelimit_degraded "+want, func() bool {
				return in.metric(ctx, g, "materi_ratelimit_degraded") == want
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := degraded("0"); err != nil {
		return err
	}
	in.redis.kill()
	if err := degraded("1"); err != nil {
		return err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	if in.redis.process, err = in.start("redis", in.redis.again()); err != nil {
		return err
	}
	return degraded("0")
}

// failOver kills the primary and promotes the replica. Until it is there nobody can log in or
// refresh: they are told so, and when to come again.
func (in *installation) failOver(ctx context.Context) (func(fault) bool, error) {
	ctl, err := program("pg_ctl")
	if err != nil {
		return nil, err
	}
	killed := time.Now()
	in.primary.kill()
	if err := os.Remove(filepath.Join(in.path("primary"), "postmaster.pid")); err != nil {
		return nil, err
	}
	if err := pause(ctx, 2*time.Second); err != nil { // until somebody, or something, decides
		return nil, err
	}
	if _, err := in.asPostgres(ctx, ctl, "-D", in.path("replica"), "-w", "promote"); err != nil {
		return nil, err
	}
	promoted := time.Now()
	for _, g := range in.gates {
		if err := await(ctx, "haproxy has "+g.name+" back", func() bool { return in.up(g) }); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(os.Stderr, "postgres failover: promoted after %.2f s, gateways ready after %.2f s\n", promoted.Sub(killed).Seconds(), time.Since(killed).Seconds())
	if err := pause(ctx, 6*time.Second); err != nil { // until those are back who were told to come in 5 s
		return nil, err
	}
	return func(f fault) bool {
		needs := f.operation == opLogin || f.operation == opSite || f.operation == opRefresh
		return needs && strings.HasPrefix(f.kind, "503 ") && f.ended.After(killed) && f.began.Before(promoted)
	}, nil
}
