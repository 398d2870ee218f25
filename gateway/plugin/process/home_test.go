package process

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/materi/shield/sdk/wire"
)

func TestProcessIsConfined(t *testing.T) {
	t.Setenv("SHIELD_TEST_SECRET", "value")
	p := opened(t, options(t, guest()), quick())
	proc := fmt.Sprintf("/proc/%d/", pid(p))
	read := func(name string) string {
		b, err := os.ReadFile(proc + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	status := strings.Join(strings.Fields(read("status")), " ")
	for _, want := range []string{
		"NoNewPrivs: 1", "CapInh: 0000000000000000", "CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapAmb: 0000000000000000",
		"TracerPid: 0", fmt.Sprintf("NSpgid: %d", pid(p)), fmt.Sprintf("NSsid: %d", pid(p)),
	} {
		if !strings.Contains(status, want) {
			t.Errorf("status has no %q:\n%s", want, status)
		}
	}
	limits := strings.Join(strings.Fields(read("limits")), " ")
	for _, want := range []string{
		"Max core file size 0 0", "Max open files 1024 1024", fmt.Sprintf("Max data size %d %[1]d", int64(32<<20+runtimeMemory)),
	} {
		if !strings.Contains(limits, want) {
			t.Errorf("limits have no %q:\n%s", want, limits)
		}
	}
	for v := range strings.SplitSeq(strings.TrimRight(read("environ"), "\x00"), "\x00") {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "SHIELD_PLUGIN", "SHIELD_PLUGIN_RUN", "PLUGIN_MIN_PORT", "PLUGIN_MAX_PORT", "PLUGIN_PROTOCOL_VERSIONS",
			"PLUGIN_CLIENT_CERT", "PLUGIN_UNIX_SOCKET_DIR", "TMPDIR", "GOMEMLIMIT":
		default:
			t.Errorf("it has %s in its environment", name)
		}
	}
	if cwd, err := os.Readlink(proc + "cwd"); err != nil || cwd != p.home.dir {
		t.Errorf("it is in %q, %v, want %q", cwd, err, p.home.dir)
	}
	if stdin, err := os.Readlink(proc + "fd/0"); err != nil || stdin != os.DevNull {
		t.Errorf("its standard input is %q, %v", stdin, err)
	}
}

// TestGatewayKeepsItsPrivileges shows that what the plugin's thread gives up is not lost to
// the others.
func TestGatewayKeepsItsPrivileges(t *testing.T) {
	before := privileges(t)
	p := opened(t, options(t, guest()), quick())
	if after := privileges(t); after[0] != before[0] {
		t.Errorf("this thread had %q, now %q", before[0], after[0])
	}
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no thread without privileges is left", func() bool {
		for _, s := range privileges(t) {
			if s != before[0] {
				return false
			}
		}
		return true
	})
}

// privileges are those of the thread that asks, then those of all threads.
func privileges(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, file := range append([]string{"/proc/thread-self/status"}, files...) {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		var s string
		for l := range strings.Lines(string(b)) {
			if strings.HasPrefix(l, "CapEff") || strings.HasPrefix(l, "NoNewPrivs") {
				s += l
			}
		}
		list = append(list, s)
	}
	return list
}

func TestLimitsAreSetAlsoWhereNothingMayBeTraced(t *testing.T) {
	file := script("exec sleep 1000")(t)
	c, err := launch(command{name: "test", file: file, dir: t.TempDir(), memory: 1 << 20, untraced: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", c.process.Pid))
	if err != nil || !strings.Contains(string(b), fmt.Sprint(1<<20+runtimeMemory)) {
		t.Errorf("limits: %v\n%s", err, b)
	}
	c.kill()
	<-c.done
	_, _ = c.stdout.Close(), c.stderr.Close()
}

func TestPluginThatChangedSinceItWasCheckedIsRefused(t *testing.T) {
	file := program(t, "#!/bin/sh\n")
	opts := options(t, file)
	if err := os.WriteFile(file, []byte("#!/bin/sh\nrm -rf /\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), opts); err == nil || !strings.Contains(err.Error(), "was changed since it was checked") {
		t.Errorf("Open() = %v, want a refusal", err)
	}
	if left, _ := os.ReadDir(opts.Dir); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

func TestWhatBecomesOfTheFileLaterDoesNotMatterButTheCopyDoes(t *testing.T) {
	b, err := os.ReadFile(guest())
	if err != nil {
		t.Fatal(err)
	}
	file := program(t, string(b))
	p := opened(t, options(t, file), quick())
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	kill(t, p)
	eventually(t, "it is back", func() bool { return p.Restarts() == 1 && p.Health() == nil })

	info, err := os.Stat(p.home.file)
	if err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("mode of the copy: %v, %v", info.Mode(), err)
	}
	// The plugin itself could do this, being the same user.
	if err := os.Remove(p.home.file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.home.file, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	kill(t, p)
	eventually(t, "it is refused", func() bool {
		err := p.Health()
		return err != nil && strings.Contains(err.Error(), "the copy of the plugin was changed")
	})
}

func TestDirectoriesThatWillNotDoAreRefused(t *testing.T) {
	open := directory(t)
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o770); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, want string }{
		{open, "may be written by others"},
		{filepath.Join(directory(t), strings.Repeat("x", 80)), "too long for the sockets"},
		{"/proc/nothing", "plugin directory"},
	} {
		opts := options(t, guest())
		opts.Dir = c.dir
		if _, err := Open(context.Background(), opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Open(%s) = %v, want %q", c.dir, err, c.want)
		}
	}
}

func TestLongestDirectoryWorks(t *testing.T) {
	opts := options(t, guest())
	fill := maxDir - len(opts.Dir) - len("/") - len("/p1234567890")
	opts.Dir = filepath.Join(opts.Dir, strings.Repeat("x", fill))
	p := opened(t, opts, quick())
	if got, err := act(p, nil, "echo", "hello"); err != nil || got != "hello" {
		t.Errorf("echo = %q, %v", got, err)
	}
}

func TestSweepLeavesHomesInUse(t *testing.T) {
	opts := options(t, guest())
	first := opened(t, opts, quick())
	stale := filepath.Join(opts.Dir, "p1")
	if err := os.MkdirAll(filepath.Join(stale, "plugin-dir1"), 0o700); err != nil {
		t.Fatal(err)
	}
	second := opened(t, opts, quick())
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("the home of a dead process is still there: %v", err)
	}
	for _, p := range []*Process{first, second} {
		if got, err := act(p, nil, "echo", "hello"); err != nil || got != "hello" {
			t.Errorf("echo = %q, %v", got, err)
		}
	}
	if err := first.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first.home.dir); !os.IsNotExist(err) {
		t.Errorf("Close left the home: %v", err)
	}
}

func TestOptionsThatMustBeThere(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"Name":      func(o *Options) { o.Name = "" },
		"File":      func(o *Options) { o.File = "" },
		"Digest":    func(o *Options) { o.Digest = [sha256.Size]byte{} },
		"Memory":    func(o *Options) { o.Memory = 0 },
		"Timeout":   func(o *Options) { o.Timeout = 0 },
		"Instances": func(o *Options) { o.Instances = 0 },
		"Dir":       func(o *Options) { o.Dir = "" },
		"Log":       func(o *Options) { o.Log = nil },
		"Now":       func(o *Options) { o.Now = nil },
	} {
		opts := options(t, guest())
		change(&opts)
		if _, err := Open(context.Background(), opts); err == nil || !strings.Contains(err.Error(), "required") {
			t.Errorf("Open() without %s = %v", name, err)
		}
	}
}

// TestNothingIsWrittenElsewhere is about machines whose file systems are all read-only but
// for Dir.
func TestNothingIsWrittenElsewhere(t *testing.T) {
	opts := options(t, guest())
	t.Setenv("TMPDIR", "/nonexistent")
	t.Setenv("HOME", "/nonexistent")
	p := opened(t, opts, quick())
	host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) { return nil, nil })
	if got, err := act(p, host, "get", "key"); err != nil || got != "false  0" {
		t.Errorf("get = %q, %v", got, err)
	}
	descriptors, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid(p)))
	if err != nil || len(descriptors) == 0 {
		t.Fatalf("no descriptors: %v", err)
	}
	for _, d := range descriptors {
		to, err := os.Readlink(d)
		if err == nil && strings.HasPrefix(to, "/") && to != os.DevNull && !strings.HasPrefix(to, "/sys/") && !strings.HasPrefix(to, "/proc/") {
			t.Errorf("it has %s open", to)
		}
	}
}
