package config

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// RedisGroup is several Redis servers that stand in for each other: a master that sentinels
// watch over, or a cluster.
type RedisGroup struct {
	Master           string   // as the sentinels call it; empty: a cluster
	Addrs            []string // of sentinels, or of some nodes of the cluster
	TLS              bool
	Username         string // at the servers
	Password         Secret
	DB               int // with sentinels
	SentinelUsername string
	SentinelPassword Secret
}

var (
	errSentinel = errors.New("is not a master that sentinels watch over; write redis-sentinel://host:26379,host:26379,host:26379/MASTER")
	errCluster  = errors.New("is not a Redis cluster; write redis-cluster://host:6379,host:6379,host:6379")
)

// ParseRedisGroup reads the URL of a group, and reports whether it is one:
//
//	redis-sentinel://[user:password@]host:port[,host:port ...]/MASTER[?db=N&sentinel_username=U&sentinel_password=P]
//	redis-cluster://[user:password@]host:port[,host:port ...]
//
// rediss-sentinel and rediss-cluster are the same by TLS. The error does not quote the URL.
func ParseRedisGroup(s string) (group RedisGroup, is bool, err error) {
	scheme, rest, _ := strings.Cut(s, ":")
	plain, tls := strings.CutPrefix(scheme, "rediss-")
	if !tls {
		plain, is = strings.CutPrefix(scheme, "redis-")
	}
	if !tls && !is || plain != "sentinel" && plain != "cluster" {
		return RedisGroup{}, false, nil
	}
	wrong := errCluster
	if plain == "sentinel" {
		wrong = errSentinel
	}
	rest, slashes := strings.CutPrefix(rest, "//")
	if !slashes {
		return RedisGroup{}, true, wrong
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	user, hosts := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, hosts = authority[:i+1], authority[i+1:]
	}
	group.TLS = tls
	for addr := range strings.SplitSeq(hosts, ",") {
		if !isServer(addr) {
			return RedisGroup{}, true, wrong
		}
		group.Addrs = append(group.Addrs, addr)
	}
	// A URL has one host.
	u, err := url.Parse("redis://" + user + group.Addrs[0] + tail)
	if err != nil || u.Fragment != "" || strings.Contains(tail, "#") {
		return RedisGroup{}, true, wrong
	}
	if u.User != nil {
		group.Username = u.User.Username()
		password, _ := u.User.Password()
		group.Password = NewSecret(password)
	}
	group.Master = strings.TrimPrefix(u.Path, "/")
	if plain == "cluster" {
		if group.Master != "" || u.RawQuery != "" || strings.Contains(tail, "?") {
			return RedisGroup{}, true, wrong
		}
		return group, true, nil
	}
	if !id.MatchString(group.Master) || group.options(u.RawQuery) != nil {
		return RedisGroup{}, true, wrong
	}
	return group, true, nil
}

// options reads the query of a URL of sentinels.
func (g *RedisGroup) options(query string) error {
	q, err := url.ParseQuery(query)
	if err != nil {
		return err
	}
	for name, values := range q {
		if len(values) != 1 {
			return errSentinel
		}
		switch name {
		case "db":
			n, err := strconv.ParseUint(values[0], 10, 16)
			if err != nil {
				return err
			}
			g.DB = int(n)
		case "sentinel_username":
			g.SentinelUsername = values[0]
		case "sentinel_password":
			g.SentinelPassword = NewSecret(values[0])
		default:
			return errSentinel
		}
	}
	return nil
}

// isServer reports whether addr is a host with a port.
func isServer(addr string) bool {
	h, port, err := net.SplitHostPort(addr)
	n, bad := strconv.ParseUint(port, 10, 16)
	return err == nil && bad == nil && n > 0 && (host(strings.ToLower(h)) == nil || isIPv6(h))
}
