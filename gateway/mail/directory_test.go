package mail

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/materi/shield/config"
)

func TestMailIsWrittenIntoAPrivateFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "mail")
	p := newPost(t, config.Mail{Directory: dir}, newMemory())
	q := p.queue(t, verifyMail())
	p.start(t)
	eventually(t, "the file", func() bool { _, waits := p.store.get(q.ID); return !waits })

	name := "20261121T120000.000Z-" + q.ID + ".eml"
	if files := sorted(t, dir); len(files) != 1 || files[0] != name {
		t.Fatalf("files = %v, want %s alone", files, name)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, name): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("mode of %s = %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte("\n"+verifyMail().Link+"\n")) {
		t.Errorf("the link does not stand on a line of its own:\n%s", raw)
	}
	if strings.Contains(p.logs.String(), "hunter2") || strings.Contains(p.logs.String(), "ada") {
		t.Errorf("the log tells the mail:\n%s", p.logs)
	}
}

func TestSecondTryWritesTheSameFile(t *testing.T) {
	dir := t.TempDir()
	store := newMemory()
	p := newPost(t, config.Mail{Directory: dir}, store)
	q := p.queue(t, verifyMail())
	store.undroppable = errors.New("database gone")
	p.start(t)
	eventually(t, "the first copy", func() bool { return strings.Contains(p.logs.String(), "cannot be taken off") })
	store.mu.Lock()
	store.undroppable = nil
	store.mu.Unlock()
	p.clock.move(p.lease)
	p.Wake()
	eventually(t, "the empty queue", func() bool { _, waits := store.get(q.ID); return !waits })
	if files := sorted(t, dir); len(files) != 1 {
		t.Errorf("files = %v, want one", files)
	}
}

func TestUnwritableDirectoryKeepsTheMail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	p := newPost(t, config.Mail{Directory: dir}, newMemory())
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	q := p.queue(t, verifyMail())
	p.start(t)
	eventually(t, "the failed try", func() bool { q, waits := p.store.get(q.ID); return waits && q.Attempts == 1 })
}
