package ratelimit

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/materi/shield/config"
)

// server is a Redis of the test's own.
type server struct {
	addr string
	cmd  *exec.Cmd
}

// kill ends a server as a machine that is lost does.
func (s *server) kill() { _ = s.cmd.Process.Signal(syscall.SIGKILL) }

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// startRedis starts a server with further lines of configuration.
func startRedis(t *testing.T, mode, conf string) *server {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	file := filepath.Join(dir, "redis.conf")
	conf = fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nlogfile %s\n%s", port, dir, filepath.Join(dir, "log"), conf)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{file}
	if mode != "" {
		args = append(args, mode)
	}
	s := &server{addr: "127.0.0.1:" + port, cmd: exec.Command("redis-server", args...)}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start redis-server, of the Debian package of this name: %v", err)
	}
	t.Cleanup(func() { s.kill(); _ = s.cmd.Wait() })
	client := s.client(t)
	eventually(t, "redis-server to answer", func() bool { return client.Ping(t.Context()).Err() == nil })
	return s
}

func (s *server) client(t *testing.T) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

const forgetful = "save \"\"\nappendonly no\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n"

// underSentinels starts a master and its replica under three sentinels.
func underSentinels(t *testing.T) (url string, master *server) {
	t.Helper()
	master = startRedis(t, "", forgetful)
	replica := startRedis(t, "", forgetful+"replicaof "+strings.ReplaceAll(master.addr, ":", " ")+"\n")
	eventually(t, "the replica to follow", func() bool {
		return strings.Contains(replica.client(t).Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	var addrs []string
	for range 3 {
		s := startRedis(t, "--sentinel", "sentinel monitor shield "+strings.ReplaceAll(master.addr, ":", " ")+" 2\n"+
			"sentinel down-after-milliseconds shield 1000\nsentinel failover-timeout shield 3000\n")
		addrs = append(addrs, s.addr)
	}
	for _, addr := range addrs {
		s := redis.NewSentinelClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = s.Close() })
		eventually(t, "the sentinels to know each other and the replica", func() bool {
			state, err := s.Master(t.Context(), "shield").Result()
			return err == nil && state["num-other-sentinels"] == "2" && state["num-slaves"] == "1"
		})
	}
	return "redis-sentinel://" + strings.Join(addrs, ",") + "/shield", master
}

// inACluster starts three masters, one of which has a replica.
func inACluster(t *testing.T) (url string, doomed *server) {
	t.Helper()
	var servers []*server
	var addrs []string
	for range 4 {
		s := startRedis(t, "", forgetful+"cluster-enabled yes\ncluster-node-timeout 1500\ncluster-port "+freePort(t)+"\n")
		servers, addrs = append(servers, s), append(addrs, s.addr)
	}
	ask := func(s *server, args ...any) string {
		t.Helper()
		text, err := s.client(t).Do(t.Context(), args...).Text()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return text
	}
	for i, slots := range [][2]int{{0, 5460}, {5461, 10922}, {10923, 16383}} {
		ask(servers[i], "CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1])
		ask(servers[i], "CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for _, s := range servers {
		host, port, _ := net.SplitHostPort(s.addr)
		bus := s.client(t).ConfigGet(t.Context(), "cluster-port").Val()["cluster-port"]
		ask(servers[0], "CLUSTER", "MEET", host, port, bus)
	}
	first := ask(servers[0], "CLUSTER", "MYID")
	eventually(t, "the replica to know its master", func() bool {
		return servers[3].client(t).Do(t.Context(), "CLUSTER", "REPLICATE", first).Err() == nil
	})
	for _, s := range servers {
		eventually(t, "the cluster to be whole", func() bool {
			info := s.client(t).ClusterInfo(t.Context()).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:4")
		})
	}
	eventually(t, "the replica to follow", func() bool {
		return strings.Contains(servers[3].client(t).Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	return "redis-cluster://" + strings.Join(addrs, ","), servers[0]
}

func TestLimitsAreSharedAgainAfterAFailover(t *testing.T) {
	for name, start := range map[string]func(*testing.T) (string, *server){"sentinel": underSentinels, "cluster": inACluster} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, master := start(t)
			var replicas []*Limiter
			for range 2 {
				client, err := Dial(config.Redis{URL: config.NewSecret(url)})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = client.Close() })
				l := newLimiter(t, newClock(), client, "test:", limitOf(4, time.Hour))
				replicas = append(replicas, l)
				run(t, l)
			}
			for _, l := range replicas {
				eventually(t, "both replicas to be known", func() bool { return l.shared.replicas() == 2 })
			}
			// Budgets of every server of a cluster.
			for i := range 16 {
				mustShare(t, replicas, fmt.Sprint("before/", i))
			}
			master.kill()
			killed := time.Now()
			var slowest time.Duration
			down := func() bool {
				for i := range 16 {
					for _, l := range replicas {
						began := time.Now()
						if _, err := l.Allow(context.Background(), "test", fmt.Sprint("during/", i)); err != nil {
							t.Fatalf("Allow() during the failover = %v", err)
						}
						slowest = max(slowest, time.Since(began))
					}
				}
				return replicas[0].shared.down.Load() && replicas[1].shared.down.Load()
			}
			eventually(t, "both replicas to count alone", down)
			eventually(t, "both replicas to share again", func() bool {
				down()
				return !replicas[0].shared.down.Load() && !replicas[1].shared.down.Load()
			})
			t.Logf("shared again %v after the master was killed; the slowest answer took %v", time.Since(killed).Round(time.Millisecond), slowest.Round(time.Millisecond))
			// The promise is 100 ms; the rest is patience with a busy machine.
			if slowest > time.Second {
				t.Errorf("an answer took %v", slowest)
			}
			for i := range 16 {
				mustShare(t, replicas, fmt.Sprint("after/", i))
			}
		})
	}
}

// mustShare spends a budget of four at two replicas.
func mustShare(t *testing.T, replicas []*Limiter, budget string) {
	t.Helper()
	for i := range 4 {
		if d := allow(t, replicas[i%2], budget); !d.Allowed || d.Limit != 4 {
			t.Errorf("%s, request %d: %+v", budget, i, d)
		}
	}
	if d := allow(t, replicas[0], budget); d.Allowed {
		t.Errorf("%s: the fifth request is allowed: %+v", budget, d)
	}
}
