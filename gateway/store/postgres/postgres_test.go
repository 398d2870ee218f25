package postgres_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/gateway/store/postgres"
	"github.com/materi/shield/gateway/store/storetest"
	"github.com/materi/shield/gateway/testbed"
)

var engine = storetest.Engine{
	Fresh: testbed.Postgres,
	Open: func(ctx context.Context, where string) (*store.Store, error) {
		return postgres.Open(ctx, where, 4)
	},
	Exec: func(t testing.TB, where, sql string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), where)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	},
}

func TestMain(m *testing.M) { os.Exit(storetest.Main(m, engine)) }

func TestStore(t *testing.T) { storetest.Run(t, engine) }

var record = flag.Bool("record", false, "record what this release says to its database; see docs/migrations.md")

func TestReleasesRunOnThisSchema(t *testing.T) {
	storetest.Release(t, engine, *record, postgres.OpenEngine)
}

func TestOpenDoesNotNeedTheServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close() // nobody listens there now
	s, err := postgres.Open(t.Context(), "postgres://shield:hunter2@"+addr+"/shield", 4)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	defer s.Close()
	err = s.Ping(t.Context())
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Ping() = %v, want ErrUnavailable", err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error tells the password: %v", err)
	}
}

func TestOpenDoesNotQuoteABadURL(t *testing.T) {
	for _, bad := range []string{"postgres://shield:hunter2@host:port/db", "postgres://shield:hunter2@[::1/db", "://hunter2", "host=a port=b password=hunter2"} {
		_, err := postgres.Open(t.Context(), bad, 4)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%q) = %v, want an error without the password", bad, err)
		}
	}
	if _, err := postgres.Open(t.Context(), "postgres://localhost/db", 0); err == nil {
		t.Error("Open() with no connections = nil error")
	}
}

// A server that accepts and never answers must not hold a caller beyond its deadline.
func TestDeadlineHoldsWhenTheServerIsSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := postgres.Open(t.Context(), "postgres://shield@"+l.Addr().String()+"/shield?sslmode=disable", 4)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := s.Ping(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Ping() = %v, want ErrUnavailable", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("Ping() took %v", took)
	}
}

// Whoever holds all connections must not keep a gateway from learning which sessions ended.
func TestRevocationsAreReadWhileAllConnectionsWait(t *testing.T) {
	where := testbed.Postgres(t)
	s, err := postgres.Open(t.Context(), where, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	if _, err := admin.Exec(t.Context(), `BEGIN; LOCK TABLE shield_users`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() {
		_, err := s.UserByEmail(ctx, "ann@example.com")
		waiting <- err
	}()
	defer func() {
		cancel()
		<-waiting
	}()
	blocked, deadline := false, time.Now().Add(5*time.Second)
	for !blocked && time.Now().Before(deadline) {
		err := admin.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks
			WHERE NOT granted AND relation = 'shield_users'::regclass)`).Scan(&blocked)
		if err != nil {
			t.Fatal(err)
		}
	}
	if !blocked {
		t.Fatal("the only connection does not wait for the lock")
	}
	soon, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	if _, err := s.RevocationsSince(soon, time.Time{}, time.Now()); err != nil {
		t.Errorf("RevocationsSince() = %v", err)
	}
}

func TestComesBackWithTheServer(t *testing.T) {
	where := testbed.Postgres(t)
	u, err := url.Parse(where)
	if err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, u.Host)
	u.Host = p.addr()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	s, err := postgres.Open(t.Context(), u.String(), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.cut()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for range 8 { // more than the pool has connections
		if err := s.Ping(ctx); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("Ping() while the server is away = %v, want ErrUnavailable", err)
		}
	}
	p.restore()
	if err := s.Ping(ctx); err != nil {
		t.Errorf("Ping() after the server came back = %v", err)
	}
}

// proxy stands before the server and can be cut.
type proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup
	mu       sync.Mutex
	away     bool
	conns    []net.Conn
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target}
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.hold(c) {
			continue
		}
		up, err := net.Dial("tcp", p.target)
		if err != nil || !p.hold(up) {
			_ = c.Close()
			continue
		}
		p.wg.Go(func() { _, _ = io.Copy(up, c); _ = up.Close() })
		p.wg.Go(func() { _, _ = io.Copy(c, up); _ = c.Close() })
	}
}

// hold keeps a connection to be cut, or closes it when the server is away.
func (p *proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		_ = c.Close()
		return false
	}
	p.conns = append(p.conns, c)
	return true
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = true
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func (p *proxy) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = false
}
