package route_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/route"
)

var entries = []route.Entry[int]{
	{Name: "root", Prefix: "/", Value: 1},
	{Name: "api", Prefix: "/api", Value: 2},
	{Name: "api-v2", Prefix: "/api/v2", Methods: []string{"GET", "POST"}, Value: 3},
	{Name: "api-v2-put", Prefix: "/api/v2", Methods: []string{"PUT"}, Value: 4},
	{Name: "below", Prefix: "/docs/", Value: 5},
	{Name: "exact", Path: "/api/status", Methods: []string{"GET"}, Value: 6},
	{Name: "verify", Pattern: "/auth/verify/{token}", Methods: []string{"GET"}, Value: 7},
	{Name: "member", Pattern: "/w/{id}/members/{user}", Value: 8},
	{Name: "self", Pattern: "/w/{id}/members/me", Value: 9},
	{Name: "mine", Pattern: "/w/own/{what}/me", Value: 10},
	{Name: "host", Host: "Admin.Example", Prefix: "/api", Value: 11},
}

func newTable(t testing.TB, e []route.Entry[int]) *route.Table[int] {
	t.Helper()
	table, err := route.New(e)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return table
}

func TestTableChoosesTheMostSpecificPathInAnyOrder(t *testing.T) {
	for _, row := range []struct{ host, path, method, want string }{
		{"a", "/", "GET", "root"},
		{"a", "/apix", "GET", "root"}, // prefixes end at a segment
		{"a", "/api", "GET", "api"},
		{"a", "/api/", "GET", "api"},
		{"a", "/api/x/y", "DELETE", "api"},
		{"a", "/api/v2", "GET", "api-v2"},
		{"a", "/api/v2/x", "HEAD", "api-v2"}, // GET includes HEAD
		{"a", "/api/v2/x", "PUT", "api-v2-put"},
		{"a", "/docs", "GET", "root"},
		{"a", "/docs/", "GET", "below"},
		{"a", "/docs/x", "GET", "below"},
		{"a", "/api/status", "GET", "exact"},
		{"a", "/api/status/", "GET", "api"},
		{"a", "/auth/verify/abc", "GET", "verify"},
		{"a", "/auth/verify/", "GET", "root"}, // an open segment is not empty
		{"a", "/auth/verify/a/b", "GET", "root"},
		{"a", "/w/1/members/2", "GET", "member"},
		{"a", "/w/1/members/me", "GET", "self"},
		{"a", "/w/own/members/me", "GET", "mine"}, // literal segments count from the left
		{"a", "/w/own/members/2", "GET", "member"},
		{"admin.example", "/api/v2", "DELETE", "host"}, // the host comes before the path
		{"admin.example", "/x", "GET", "root"},
	} {
		for range 20 {
			shuffled := slices.Clone(entries)
			rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			m, err := newTable(t, shuffled).Match(row.host, row.path, row.method)
			if err != nil || m.Name != row.want {
				t.Fatalf("Match(%q, %q, %q) = %q, %v, want %q", row.host, row.path, row.method, m.Name, err, row.want)
			}
		}
	}
}

func TestTableMethodNeverFallsThroughToAWiderRoute(t *testing.T) {
	table := newTable(t, entries)
	for path, allow := range map[string][]string{
		"/api/status":      {"GET", "HEAD"}, // "/api" would take a POST
		"/api/v2/x":        {"GET", "HEAD", "POST", "PUT"},
		"/auth/verify/abc": {"GET", "HEAD"},
	} {
		_, err := table.Match("a", path, "DELETE")
		m, ok := errors.AsType[*route.MethodError](err)
		if !ok {
			t.Fatalf("Match(%s) = %v, want a MethodError", path, err)
		}
		if diff := cmp.Diff(allow, m.Allow); diff != "" {
			t.Errorf("%s: Allow (-want +got):\n%s", path, diff)
		}
	}
}

func TestTableParams(t *testing.T) {
	m, err := newTable(t, entries).Match("a", "/w/1/members/%2B", "GET")
	if err != nil || m.Value != 8 || m.Param("id") != "1" || m.Param("user") != "%2B" || m.Param("x") != "" {
		t.Errorf("Match() = %+v, %v", m, err)
	}
}

func TestTableNotFound(t *testing.T) {
	table := newTable(t, []route.Entry[int]{{Name: "a", Host: "a", Prefix: "/x"}})
	for _, row := range [][2]string{{"b", "/x"}, {"a", "/"}, {"", "/x"}, {"a", "/xy"}} {
		if _, err := table.Match(row[0], row[1], "GET"); !errors.Is(err, route.ErrNotFound) {
			t.Errorf("Match(%v) = %v, want ErrNotFound", row, err)
		}
	}
	if _, err := table.Match("a", "/x", "BREW"); errors.Is(err, route.ErrNotFound) || err == nil {
		t.Errorf("unknown method: %v", err)
	}
}

func TestNewRefusesWhatWouldBeAmbiguousOrDead(t *testing.T) {
	for name, e := range map[string][]route.Entry[int]{
		"same path":              {{Path: "/a"}, {Path: "/a"}},
		"overlapping methods":    {{Path: "/a", Methods: []string{"GET", "PUT"}}, {Path: "/a", Methods: []string{"PUT"}}},
		"same prefix":            {{Prefix: "/a"}, {Prefix: "/a"}},
		"same pattern":           {{Pattern: "/a/{b}"}, {Pattern: "/a/{c}"}},
		"host in two spellings":  {{Host: "a", Path: "/"}, {Host: "A.", Path: "/"}},
		"nothing":                {{}},
		"path and prefix":        {{Path: "/a", Prefix: "/a"}},
		"relative":               {{Path: "a"}},
		"relative pattern":       {{Pattern: "a/{b}"}},
		"not canonical":          {{Path: "/%61"}},
		"prefix not canonical":   {{Prefix: "/a/../b"}},
		"pattern not canonical":  {{Pattern: "/a/../{b}"}},
		"pattern half a segment": {{Pattern: "/a{b}"}},
		"pattern without names":  {{Pattern: "/a"}},
		"pattern empty name":     {{Pattern: "/{}"}},
		"pattern name twice":     {{Pattern: "/{a}/{a}"}},
		"unknown method":         {{Path: "/", Methods: []string{"get"}}},
		"host with port":         {{Host: "a:80", Path: "/"}},
		"host malformed":         {{Host: "u@a", Path: "/"}},
	} {
		if _, err := route.New(e); err == nil {
			t.Errorf("%s: New() accepted it", name)
		}
	}
	_, err := route.New([]route.Entry[int]{{Name: "one"}, {Name: "two"}})
	if err == nil || !strings.Contains(err.Error(), "one") || !strings.Contains(err.Error(), "two") {
		t.Errorf("New() = %v, want both faults", err)
	}
}

func TestMatchDoesNotAllocateOnStaticPaths(t *testing.T) {
	table := newTable(t, entries)
	for _, path := range []string{"/api/status", "/api/v2/a/b/c", "/nothing"} {
		n := testing.AllocsPerRun(100, func() {
			if _, err := table.Match("a", path, "GET"); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("Match(%s) allocates %v times", path, n)
		}
	}
}

// naive is a second implementation: it looks at every entry and compares ranks.
func naive(entries []route.Entry[int], host, path, method string) (name string, status int) {
	type rank struct{ host, kind, detail string }
	var best rank
	var owners []route.Entry[int]
	for _, e := range entries {
		var r rank
		if e.Host != "" {
			if strings.ToLower(e.Host) != host {
				continue
			}
			r.host = "1"
		}
		switch {
		case e.Path != "" && e.Path == path:
			r.kind = "3"
		case e.Pattern != "":
			want, got := strings.Split(e.Pattern, "/"), strings.Split(path, "/")
			if len(want) != len(got) {
				continue
			}
			fits := true
			for i := range want {
				open := strings.HasPrefix(want[i], "{")
				fits = fits && (want[i] == got[i] || open && got[i] != "")
				if open {
					r.detail += "0"
				} else {
					r.detail += "1"
				}
			}
			if !fits {
				continue
			}
			r.kind = "2"
		case e.Prefix != "" && (path == e.Prefix || strings.HasPrefix(path, strings.TrimSuffix(e.Prefix, "/")+"/")):
			r.kind, r.detail = "1", strings.Repeat("x", len(e.Prefix))
		default:
			continue
		}
		switch c := strings.Compare(r.host+r.kind+r.detail, best.host+best.kind+best.detail); {
		case len(owners) == 0, r.host > best.host, r.host == best.host && c > 0:
			best, owners = r, []route.Entry[int]{e}
		case r == best:
			owners = append(owners, e)
		}
	}
	if owners == nil {
		return "", 404
	}
	for _, wanted := range []string{method, map[string]string{"HEAD": "GET"}[method]} {
		for _, e := range owners {
			if len(e.Methods) == 0 && slices.Contains(route.Methods(), wanted) || slices.Contains(e.Methods, wanted) {
				return e.Name, 200
			}
		}
	}
	return "", 405
}

func FuzzMatchAgainstANaiveTable(f *testing.F) {
	for _, path := range []string{"/", "/api", "/api/v2/", "/w/own/members/me", "/auth/verify/", "//", ""} {
		f.Add("a", path, "GET", uint64(1))
	}
	f.Fuzz(func(t *testing.T, host, path, method string, seed uint64) {
		if c, err := route.Canonical(path); err != nil || c != path {
			return
		}
		rng := rand.New(rand.NewPCG(seed, 0))
		subset := slices.Clone(entries)
		rng.Shuffle(len(subset), func(i, j int) { subset[i], subset[j] = subset[j], subset[i] })
		subset = subset[:rng.IntN(len(subset)+1)]
		wantName, want := naive(subset, host, path, method)
		m, err := newTable(t, subset).Match(host, path, method)
		got := 200
		if _, ok := errors.AsType[*route.MethodError](err); ok {
			got = 405
		} else if err != nil {
			got = 404
		}
		if got != want || m.Name != wantName {
			t.Errorf("Match(%q, %q, %q) = %d %q, naive %d %q", host, path, method, got, m.Name, want, wantName)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	table := newTable(b, entries)
	for name, path := range map[string]string{"exact": "/api/status", "prefix": "/api/v2/a/b/c", "pattern": "/w/1/members/2"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := table.Match("a", path, "GET"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
