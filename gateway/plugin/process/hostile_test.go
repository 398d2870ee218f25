package process

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk/wire"
)

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// pid is the number of the process, once there is one.
func pid(p *Process) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run.child.process.Pid
}

func kill(t *testing.T, p *Process) {
	t.Helper()
	if err := syscall.Kill(pid(p), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func TestHostileStart(t *testing.T) {
	for _, c := range []struct {
		name string
		file func(t testing.TB) string
		want error
		says string
	}{
		{"text", func(t testing.TB) string { return program(t, "hello") }, nil, "exec format error"},
		{"garbage in place of a handshake", script("echo hello; sleep 1000"), sandbox.ErrProtocol, `"hello"`},
		{"a handshake without an end", script(`printf '1|2|unix|/x'`), sandbox.ErrProtocol, "is it a plugin"},
		{"endless first line", script("cat /dev/zero"), sandbox.ErrProtocol, "longer than"},
		{"endless lines", script("yes"), sandbox.ErrProtocol, "is it a plugin"},
		{"another protocol", script(`echo "1|2|unix|/x|netrpc|cert"; sleep 1000`), sandbox.ErrProtocol, "netrpc"},
		{"a certificate that is none", script(`echo "1|2|unix|$PLUGIN_UNIX_SOCKET_DIR/x|grpc|` + strings.Repeat("A", 100) + `"; sleep 1000`), sandbox.ErrProtocol, "cert"},
		{"exit", script("exit 3"), sandbox.ErrExit, "ended before"},
		{"nothing", rogueOf("silent"), sandbox.ErrTimeout, "to start"},
		{"an address on the network", rogueOf("tcp"), sandbox.ErrProtocol, "127.0.0.1:1"},
		{"the socket of another", rogueOf("socket of another"), sandbox.ErrProtocol, "docker.sock"},
		{"no certificate", rogueOf("no certificate"), sandbox.ErrProtocol, ""},
		{"version of a later gateway", rogueOf("version 9"), sandbox.ErrProtocol, "Plugin version: 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := options(t, c.file(t))
			slow := quick()
			slow.start = 2 * time.Second
			began := time.Now()
			p, err := open(context.Background(), opts, slow)
			if err == nil {
				_ = p.Close(context.Background())
			}
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("open() = %v, want %v that says %q", err, c.want, c.says)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if left, _ := os.ReadDir(opts.Dir); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

func script(text string) func(testing.TB) string {
	return func(t testing.TB) string { return program(t, "#!/bin/sh\nPATH=/bin:/usr/bin\n"+text+"\n") }
}

func rogueOf(mode string) func(testing.TB) string {
	return func(t testing.TB) string { return rogue(t, mode) }
}

func TestVersionsOfTheContract(t *testing.T) {
	p := opened(t, options(t, rogue(t, "version 1")), quick())
	if got, err := act(p, nil, "sleep", "0s"); err != nil || got != "awake" {
		t.Errorf("a plugin of version 1: %q, %v", got, err)
	}
}

func TestKilledProcessFailsItsCallAtOnceAndComesBack(t *testing.T) {
	p := opened(t, options(t, guest()), quick())
	host, inside, leave := blocked()
	defer close(leave)
	done := make(chan error, 1)
	go func() {
		_, err := p.Call(context.Background(), wire.Begin, request("get", "key"), hostFunc(func(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
			go host.Serve(ctx, f, in)
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		done <- err
	}()
	<-inside
	began := time.Now()
	kill(t, p)
	if err := <-done; !errors.Is(err, sandbox.ErrExit) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the call that ran: error %v, want %v", err, sandbox.ErrExit)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v to hear of it", took)
	}
	eventually(t, "it is back", func() bool { return p.Health() == nil })
	if got, err := act(p, nil, "calls", ""); got != "1" {
		t.Errorf("calls = %q, %v", got, err)
	}
}

func TestWhileItIsDownCallsFailAtOnce(t *testing.T) {
	slow := quick()
	slow.first, slow.ceiling = time.Hour, time.Hour
	p := opened(t, options(t, guest()), slow)
	kill(t, p)
	eventually(t, "it is down", func() bool { return p.Health() != nil })
	if err := p.Health(); !errors.Is(err, sandbox.ErrDown) || errors.Is(err, sandbox.ErrExit) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Health() = %v, want %v and why", err, sandbox.ErrDown)
	}
	if _, err := act(p, nil, "echo", ""); !errors.Is(err, sandbox.ErrDown) {
		t.Errorf("call: error %v, want %v", err, sandbox.ErrDown)
	}
}

func TestStoppedProcessTimesOutAndIsReplaced(t *testing.T) {
	opts := options(t, guest())
	opts.Timeout = 300 * time.Millisecond
	p := opened(t, opts, quick())
	old := pid(p)
	if err := syscall.Kill(old, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := act(p, nil, "echo", ""); !errors.Is(err, sandbox.ErrTimeout) {
		t.Errorf("call: error %v, want %v", err, sandbox.ErrTimeout)
	}
	eventually(t, "it is back", func() bool { return p.Health() == nil })
	if alive(old) {
		t.Error("the stopped process is still there")
	}
}

func TestStoppedProcessIsFoundWithoutACall(t *testing.T) {
	busy := quick()
	busy.every, busy.patience = 50*time.Millisecond, 300*time.Millisecond
	p := opened(t, options(t, guest()), busy)
	if err := syscall.Kill(pid(p), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is replaced", func() bool { return p.Restarts() == 1 && p.Health() == nil })
}

func TestStoppedProcessDoesNotHoldUpClose(t *testing.T) {
	p := opened(t, options(t, guest()), quick())
	if err := syscall.Kill(pid(p), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := p.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("Close took %v", took)
	}
}

func TestBreachesOfTheProtocolEndTheProcess(t *testing.T) {
	for _, c := range []struct {
		what, arg string
		want      error
	}{
		{"hang up", "", sandbox.ErrExit},
		{"large", "", sandbox.ErrProtocol},
		{"status", strconv.Itoa(int(codes.InvalidArgument)), sandbox.ErrProtocol},
		{"status", strconv.Itoa(int(codes.Unimplemented)), sandbox.ErrUnknownMethod},
		{"status", strconv.Itoa(int(codes.Unknown)), sandbox.ErrProtocol},
		{"status", strconv.Itoa(int(codes.Unavailable)), sandbox.ErrProtocol},
		{"status", strconv.Itoa(int(codes.Canceled)), sandbox.ErrProtocol},
		{"status", "77", sandbox.ErrProtocol},
		{"status", strconv.Itoa(int(codes.Internal)), sandbox.ErrTrap},
		{"status", strconv.Itoa(int(codes.DeadlineExceeded)), sandbox.ErrTimeout},
	} {
		t.Run(c.what+c.arg, func(t *testing.T) {
			t.Parallel()
			p := opened(t, options(t, rogue(t, "")), quick())
			old := pid(p)
			_, err := act(p, nil, c.what, c.arg)
			if !errors.Is(err, c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want %v", err, c.want)
			}
			eventually(t, "it is replaced", func() bool { return p.Restarts() == 1 && p.Health() == nil })
			if alive(old) {
				t.Error("the process is still there")
			}
		})
	}
}

func TestProcessThatHangsUpAndLivesOnIsEnded(t *testing.T) {
	p := opened(t, options(t, rogue(t, "lives on")), quick())
	old := pid(p)
	if _, err := act(p, nil, "hang up", ""); !errors.Is(err, sandbox.ErrProtocol) {
		t.Errorf("error %v, want %v", err, sandbox.ErrProtocol)
	}
	eventually(t, "it is replaced", func() bool { return p.Restarts() == 1 && p.Health() == nil })
	if alive(old) {
		t.Error("the process is still there")
	}
}

func TestOffersOverTheBrokerEndTheProcess(t *testing.T) {
	p := opened(t, options(t, rogue(t, "")), quick())
	_, _ = act(p, nil, "offer", "")
	eventually(t, "it is replaced", func() bool { return p.Restarts() == 1 && p.Health() == nil })
}

func TestChildrenDoNotOutliveTheProcess(t *testing.T) {
	p := opened(t, options(t, rogue(t, "")), quick())
	got, err := act(p, nil, "children", "")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for s := range strings.FieldsSeq(got) {
		n, err := strconv.Atoi(s)
		if err != nil || !alive(n) {
			t.Fatalf("child %s is not there", s)
		}
		pids = append(pids, n)
	}
	kill(t, p)
	eventually(t, "it is back", func() bool { return p.Restarts() == 1 && p.Health() == nil })
	for i, n := range pids {
		if alive(n) {
			t.Errorf("child %d is still there", i)
		}
	}
}

func TestCrowdOfProcessesIsEnded(t *testing.T) {
	busy := quick()
	busy.every = 50 * time.Millisecond
	p := opened(t, options(t, rogue(t, "")), busy)
	p.mu.Lock()
	ch := p.run.child
	p.mu.Unlock()
	_, _ = act(p, nil, "crowd", "")
	eventually(t, "it is replaced", func() bool { return p.Restarts() == 1 && p.Health() == nil })
	if n := ch.family(); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func TestFloodOfLinesIsBounded(t *testing.T) {
	for _, granted := range []bool{true, false} {
		var out logged
		opts := options(t, rogue(t, ""))
		opts.Log = textLog(&out)
		if !granted {
			opts.Granted = nil
		}
		p := opened(t, opts, quick())
		if got, err := act(p, nil, "flood", ""); err != nil || got != "flooding" {
			t.Fatalf("%q, %v", got, err)
		}
		for range 50 {
			if got, err := act(p, nil, "sleep", "10ms"); err != nil || got != "awake" {
				t.Errorf("under the flood: %q, %v", got, err)
			}
		}
		lines := strings.Count(out.String(), "plugin printed")
		if granted && (lines < linesBurst || lines > linesBurst+10*linesPerSec) {
			t.Errorf("%d lines in the log, want about %d", lines, linesBurst)
		}
		if !granted && lines > 0 {
			t.Errorf("%d lines in the log without the capability", lines)
		}
	}
}

func TestPrintingOnStandardOutputIsHarmless(t *testing.T) {
	p := opened(t, options(t, rogue(t, "")), quick())
	if got, err := act(p, nil, "stdout", ""); err != nil || got != "printed" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := act(p, nil, "sleep", "0s"); err != nil || got != "awake" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestGatewayThatIsKilledLeavesNothingBehind kills a process that has a plugin.
func TestGatewayThatIsKilledLeavesNothingBehind(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := directory(t)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "SHIELD_TEST_GATEWAY="+dir, "SHIELD_TEST_PLUGIN="+guest())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, _ := bufio.NewReader(out).ReadString('\n')
	plugin, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || !alive(plugin) {
		t.Fatalf("the gateway said %q", text)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "the plugin is gone", func() bool { return !alive(plugin) })
	opts := options(t, guest())
	opts.Dir = dir
	p := opened(t, opts, quick())
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || filepath.Join(dir, entries[0].Name()) != p.home.dir {
		t.Errorf("in %s are %v, want the new home alone", dir, entries)
	}
}

func TestRestartsLeaveNothingOpen(t *testing.T) {
	p := opened(t, options(t, guest()), quick())
	host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) { return nil, nil })
	// settled waits until the process is connected both ways, and counts.
	settled := func() (files, goroutines int) {
		if _, err := act(p, host, "get", "key"); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries), runtime.NumGoroutine()
	}
	files, goroutines := settled()
	for n := range uint64(8) {
		kill(t, p)
		eventually(t, "it is back", func() bool { return p.Restarts() == n+1 && p.Health() == nil })
	}
	eventually(t, "no more files are open and no more goroutines run than before", func() bool {
		f, g := settled()
		return f <= files && g <= goroutines
	})
	if left, _ := os.ReadDir(p.home.dir); len(left) != 2 {
		t.Errorf("in its home are %v, want the copy and one directory for sockets", left)
	}
}
