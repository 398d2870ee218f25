package edge

import "testing"

func TestLineWatchFindsABareLFOfARequestLineAlone(t *testing.T) {
	for name, c := range map[string]struct {
		reads []string
		bare  bool
	}{
		"CRLF":                          {[]string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n{\n}"}, false},
		"bare LF":                       {[]string{"GET / HTTP/1.1\nHost: a\r\n\r\n"}, true},
		"bare LF in pieces":             {[]string{"GET / HT", "TP/1.1", "\nHost: a\r\n\r\n"}, true},
		"bare LF after empty lines":     {[]string{"\r\n\nGET / HHTTP/1.0\nHost: a\r\n\r\n"}, true},
		"bare LF before":                {[]string{"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"}, true},
		"CR and LF apart":               {[]string{"GET / HTTP/1.1\r", "\nHost: a\r\n\r\n"}, false},
		"rest of a pipelined line":      {[]string{"\nHost: a\r\n\r\n{\n}"}, false},
		"rest of a pipelined head":      {[]string{"ost: a\r\n\r\n"}, false},
		"body of a pipelined request":   {[]string{"{\n\"a\": 1\n}"}, false},
		"body that begins with newline": {[]string{"\n\n{\n}"}, false},
	} {
		w := lineWatch{watching: true}
		for _, r := range c.reads {
			if w.watching {
				w.see([]byte(r))
			}
		}
		if w.bare != c.bare {
			t.Errorf("%s: bare = %v, want %v", name, w.bare, c.bare)
		}
	}
}
