package config

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRedisGroups(t *testing.T) {
	for s, want := range map[string]RedisGroup{
		"redis-sentinel://a:1,b.example.com:26379,[::1]:3/my-master": {Master: "my-master", Addrs: []string{"a:1", "b.example.com:26379", "[::1]:3"}},
		"rediss-sentinel://ann:p%40ss@a:1/m?db=3&sentinel_username=s&sentinel_password=x%2C": {
			Master: "m", Addrs: []string{"a:1"}, TLS: true, Username: "ann", Password: NewSecret("p@ss"), DB: 3, SentinelUsername: "s", SentinelPassword: NewSecret("x,"),
		},
		"redis-cluster://:secret@a:1,b:2": {Addrs: []string{"a:1", "b:2"}, Password: NewSecret("secret")},
		"rediss-cluster://a:1/":           {Addrs: []string{"a:1"}, TLS: true},
	} {
		got, is, err := ParseRedisGroup(s)
		if err != nil || !is {
			t.Errorf("ParseRedisGroup(%s) = %v, %v", s, is, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(Secret{})); diff != "" {
			t.Errorf("ParseRedisGroup(%s) (-want +got):\n%s", s, diff)
		}
	}
	for _, s := range []string{
		"redis-sentinel://a:1", "redis-sentinel://a:1/", "redis-sentinel://a/m", "redis-sentinel:///m", "redis-sentinel://a:1,/m",
		"redis-sentinel://a:1/m/n", "redis-sentinel://a:1/m?db=x", "redis-sentinel://a:1/m?other=1", "redis-sentinel://a:1/m?db=1&db=2",
		"redis-sentinel://a:0/m", "redis-sentinel://a:1/m#x", "redis-sentinel", "redis-sentinel:a:1/m",
		"redis-cluster://", "redis-cluster://a", "redis-cluster://a:1/0", "redis-cluster://a:1?x=1", "redis-cluster://a:1,b:2?",
		"redis-cluster://hunter2%zz:x@a:1", "redis-cluster://a:1 b:2",
	} {
		_, is, err := ParseRedisGroup(s)
		if !is || err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseRedisGroup(%s) = %v, %v, want an error without the password", s, is, err)
		}
	}
	for _, s := range []string{"", "redis://a:1", "rediss://a:1", "unix:///run/redis.sock", "redis-other://a:1", "http://a:1"} {
		if _, is, err := ParseRedisGroup(s); is || err != nil {
			t.Errorf("ParseRedisGroup(%s) = %v, %v, want no group", s, is, err)
		}
	}
}

func FuzzParseRedisGroup(f *testing.F) {
	f.Add("redis-sentinel://ann:pass@a:1,[::1]:2/m?db=1")
	f.Add("rediss-cluster://a:1,b:2")
	f.Fuzz(func(t *testing.T, s string) {
		g, is, err := ParseRedisGroup(s)
		if !is || err != nil {
			return
		}
		if len(g.Addrs) == 0 {
			t.Errorf("%q has no server", s)
		}
		for _, a := range g.Addrs {
			if _, _, err := net.SplitHostPort(a); err != nil {
				t.Errorf("%q: %v", s, err)
			}
		}
	})
}
