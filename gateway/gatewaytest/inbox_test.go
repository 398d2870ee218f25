package gatewaytest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// letter is a mail as its reader sees it.
type letter struct {
	to, subject, text string
	link              string // the path of the one-time link, "" without one
	token             string
}

// inbox remembers which mails of an installation were read.
type inbox struct {
	mu   sync.Mutex
	read map[string]bool
}

// letter waits for the oldest mail to an address that was not returned yet.
func (in *installation) letter(t testing.TB, to string) letter {
	t.Helper()
	var got letter
	eventually(t, "a mail arrives", func() bool {
		in.inbox.mu.Lock()
		defer in.inbox.mu.Unlock()
		for _, name := range in.files(t) {
			if in.inbox.read[name] {
				continue
			}
			if l := in.open(t, name); l.to == to {
				if in.inbox.read == nil {
					in.inbox.read = map[string]bool{}
				}
				in.inbox.read[name] = true
				got = l
				return true
			}
		}
		return false
	})
	return got
}

// letters waits until no mail is under way, and returns all that ever went to an address.
func (in *installation) letters(t testing.TB, to string) []letter {
	t.Helper()
	s := in.store(t)
	eventually(t, "all mail is out", func() bool {
		n, err := s.CountMail(t.Context())
		return err == nil && n == 0
	})
	var all []letter
	for _, name := range in.files(t) {
		if l := in.open(t, name); l.to == to {
			all = append(all, l)
		}
	}
	return all
}

func (in *installation) files(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(in.mails)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries { // in the order of their names, which begin with the time
		if strings.HasSuffix(e.Name(), ".eml") {
			names = append(names, e.Name())
		}
	}
	return names
}

func (in *installation) open(t testing.TB, name string) letter {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(in.mails, name))
	if err != nil {
		t.Fatal(err)
	}
	l := readLetter(t, data)
	in.secrets.add("token of a mail", l.token)
	return l
}

var oneTime = regexp.MustCompile(`(?:https?://[^/\s]+)?(/\S*[/=])?([A-Za-z0-9_-]{43})\b`)

func readLetter(t testing.TB, data []byte) letter {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("mail: %v", err)
	}
	to, err := mail.ParseAddress(m.Header.Get("To"))
	if err != nil {
		t.Fatalf("mail: %v", err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatalf("mail: %v", err)
	}
	part, err := multipart.NewReader(m.Body, params["boundary"]).NextPart()
	if err != nil {
		t.Fatalf("mail: %v", err)
	}
	text, err := io.ReadAll(part)
	if err != nil {
		t.Fatalf("mail: %v", err)
	}
	l := letter{to: to.Address, subject: m.Header.Get("Subject"), text: string(text)}
	if found := oneTime.FindStringSubmatch(l.text); found != nil {
		l.link, l.token = found[1]+found[2], found[2]
	}
	return l
}
