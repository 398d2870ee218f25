package ratelimit

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/materi/shield/config"
)

const (
	// callTimeout bounds one question to Redis. With what it takes to notice, a request that
	// finds Redis gone is answered within 100 ms; those after it do not ask.
	callTimeout = 75 * time.Millisecond
	// probeEvery is how often a replica tells that it lives, and finds out whether Redis does.
	probeEvery = time.Second
	// probeTimeout is longer than callTimeout: nobody waits, and a connection may have to be
	// made.
	probeTimeout = time.Second
	// presence is how long a replica counts after it last told.
	presence = 15 * time.Second
)

// Dial returns a client for the Redis of the configuration: one server, one that sentinels
// name, or a cluster. It does not connect yet. It never tries twice: go-redis would spend
// 1.7 s on a server that is down, and a limit has somewhere else to go.
func Dial(cfg config.Redis) (redis.UniversalClient, error) {
	logging.Disable() // go-redis writes lines of its own form; what it has to say is in its errors
	group, is, err := config.ParseRedisGroup(cfg.URL.Reveal())
	if err != nil {
		return nil, errors.New("redis url cannot be parsed") // err may hold the password
	}
	if is {
		return redis.NewUniversalClient(&redis.UniversalOptions{
			MasterName: group.Master, IsClusterMode: group.Master == "", Addrs: group.Addrs, DB: group.DB, TLSConfig: tlsOf(group),
			Username: group.Username, Password: group.Password.Reveal(),
			SentinelUsername: group.SentinelUsername, SentinelPassword: group.SentinelPassword.Reveal(),
			MaxRetries: -1, DialerRetries: 1, DialTimeout: probeTimeout, ReadTimeout: probeTimeout, WriteTimeout: probeTimeout,
			ContextTimeoutEnabled:    true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}), nil
	}
	o, err := redis.ParseURL(cfg.URL.Reveal())
	if err != nil {
		return nil, errors.New("redis url cannot be parsed") // as above
	}
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout = probeTimeout
	o.ReadTimeout = probeTimeout
	o.WriteTimeout = probeTimeout
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(o), nil
}

// tlsOf returns how to speak TLS with a group, each server under the name that it is called
// by; nil for in clear.
func tlsOf(g config.RedisGroup) *tls.Config {
	if !g.TLS {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12}
}

// shared keeps budgets in Redis. Once Redis failed it is left alone until a probe finds
// it well, so at most the requests that were under way wait for it in vain.
type shared struct {
	client   redis.UniversalClient
	limiter  *redis_rate.Limiter
	prefix   string
	self     string // names this process among the replicas
	log      *slog.Logger
	metrics  *metrics
	patience time.Duration // for one question, callTimeout

	down  atomic.Bool
	alive atomic.Int64 // replicas, as last counted
}

func newShared(client redis.UniversalClient, prefix string, log *slog.Logger, m *metrics) *shared {
	s := &shared{
		client: client, limiter: redis_rate.NewLimiter(prefixed{client, prefix}), prefix: prefix, self: rand.Text(), log: log, metrics: m,
		patience: callTimeout,
	}
	s.alive.Store(1)
	return s
}

// take takes one from a budget, and reports false if Redis cannot be asked.
func (s *shared) take(ctx context.Context, limit config.RateLimit, budget budgetKey) (*redis_rate.Result, bool) {
	if s.down.Load() {
		return nil, false
	}
	call, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	result, err := s.limiter.Allow(call, budget.String(), redis_rate.Limit{Rate: limit.Limit, Burst: limit.Burst, Period: limit.Period})
	if err == nil {
		return result, true
	}
	if !gaveUp(ctx) {
		s.setDown(err)
	}
	return nil, false
}

// gaveUp reports whether the caller ended a call, which says nothing about Redis. A
// connection knows the deadline too, and may notice it a moment before the context does.
func gaveUp(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(deadline) <= 0
}

func (s *shared) setDown(err error) {
	if s.down.CompareAndSwap(false, true) {
		s.metrics.degraded.Set(1)
		s.log.Warn("redis cannot be used, rate limits are counted locally", "error", err, "replicas", s.replicas())
	}
}

func (s *shared) setUp() {
	if s.down.CompareAndSwap(true, false) {
		s.metrics.degraded.Set(0)
		s.log.Info("redis can be used again, rate limits are shared")
	}
}

func (s *shared) replicas() int { return int(max(1, s.alive.Load())) }

// heartbeat notes by the clock of Redis that a replica lives and returns how many do.
var heartbeat = redis.NewScript(`
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[2]) * 2)
return redis.call('ZCARD', KEYS[1])
`)

// probe tells the other replicas of this one and learns whether Redis can be used. The
// number of replicas stays as last counted while it cannot.
func (s *shared) probe(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	count, err := heartbeat.Run(call, s.client, []string{s.presenceKey()}, s.self, int(presence.Seconds())).Int64()
	if err == nil {
		err = s.others(call)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.setDown(fmt.Errorf("probe: %w", err))
		return
	}
	s.alive.Store(count)
	s.metrics.replicas.Set(float64(count))
	s.setUp()
}

// others asks the servers of a cluster that the heartbeat did not: while one is gone its part
// of the budgets is, too, and a probe that said otherwise would send requests there again
// and again.
func (s *shared) others(ctx context.Context) error {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return nil
	}
	return cluster.ForEachMaster(ctx, func(ctx context.Context, server *redis.Client) error {
		return server.Ping(ctx).Err()
	})
}

// leave takes this replica off the list. If it fails, presence runs out by itself.
func (s *shared) leave() {
	if s.down.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	s.client.ZRem(ctx, s.presenceKey(), s.self)
}

func (s *shared) presenceKey() string { return s.prefix + "ratelimit:replicas" }

// prefixed puts the prefix of the installation before the keys of redis_rate, which would
// put its own in front of everything.
type prefixed struct {
	redis.UniversalClient
	prefix string
}

func (p prefixed) rename(keys []string) []string {
	renamed := make([]string, len(keys))
	for i, key := range keys {
		renamed[i] = p.prefix + "ratelimit:" + key
	}
	return renamed
}

func (p prefixed) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return p.UniversalClient.Eval(ctx, script, p.rename(keys), args...)
}

func (p prefixed) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return p.UniversalClient.EvalSha(ctx, sha, p.rename(keys), args...)
}
