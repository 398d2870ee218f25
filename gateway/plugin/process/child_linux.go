package process

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// command is what to start.
type command struct {
	name, file, dir string
	env             []string
	memory          int64
	untraced        bool // it is not held at its first instruction
}

// child is a process with all that it starts.
type child struct {
	stdout, stderr *os.File // what it prints
	done           chan struct{}
	state          *os.ProcessState // how it ended; once done is closed

	process *os.Process
	mark    string // a variable of its environment that no other process has

	mu     sync.Mutex
	reaped bool // its number may be another's
}

// launch starts a child and returns once its own code can run.
//
// It has a thread of its own for all of its life, for three reasons. What a thread gives up
// (privileges, the right to gain new ones, that to write) its children never had, while the gateway keeps
// it. A child that is to end with its parent ends with the thread that started it. And only
// that thread may hold it at its first instruction, until its limits are set.
func launch(c command) (*child, error) {
	ch := &child{done: make(chan struct{}), mark: "SHIELD_PLUGIN_RUN=" + rand.Text()}
	started := make(chan error)
	go onThread(func() {
		err := ch.start(c)
		started <- err
		if err == nil {
			ch.wait()
		}
	})
	return ch, <-started
}

// onThread runs f on a thread that ends with it. The main thread never ends, so there f is
// given to another.
func onThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		f()
		return // without unlocking: the thread ends with this goroutine
	}
	taken := make(chan struct{})
	go func() {
		runtime.LockOSThread() // the main thread is taken, so this is another one
		close(taken)
		f()
	}()
	<-taken
	runtime.UnlockOSThread()
}

func (ch *child) start(c command) error {
	if err := shedPrivileges(); err != nil {
		return err
	}
	if err := confine(c.dir); err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	stdout, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	stderr, errs, err := os.Pipe()
	if err != nil {
		return errors.Join(err, stdout.Close())
	}
	defer errs.Close()
	ch.stdout, ch.stderr = stdout, stderr
	attr := &os.ProcAttr{
		Dir: c.dir, Env: append(c.env, ch.mark), Files: []*os.File{null, out, errs},
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Ptrace: !c.untraced},
	}
	err = ch.exec(c, attr)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) {
		// Tracing is forbidden here. Its limits come a moment after its start then.
		attr.Sys.Ptrace = false
		err = ch.exec(c, attr)
	}
	if err != nil {
		return errors.Join(err, stdout.Close(), stderr.Close())
	}
	return nil
}

// exec starts the process, held at its first instruction if it is traced, and sets its
// limits.
func (ch *child) exec(c command, attr *os.ProcAttr) error {
	p, err := os.StartProcess(c.file, []string{c.name}, attr)
	if err != nil {
		return err
	}
	ch.process = p
	if attr.Sys.Ptrace {
		var ws syscall.WaitStatus
		if err := again(func() error { _, err := syscall.Wait4(p.Pid, &ws, 0, nil); return err }); err != nil || !ws.Stopped() {
			return errors.Join(errors.New("it was gone before its first instruction"), err, p.Release())
		}
	}
	err = setLimits(p.Pid, c.memory)
	if attr.Sys.Ptrace {
		err = errors.Join(err, syscall.PtraceDetach(p.Pid))
	}
	if err != nil {
		_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
		_, _ = p.Wait()
		return fmt.Errorf("set its limits: %w", err)
	}
	return nil
}

// wait waits for the child's end and makes it the end of all that it started. Those in its
// session go before it is reaped, when its number cannot be another's yet. What left the
// session is known by its environment; a process that left the session and changed that too
// is not found.
func (ch *child) wait() {
	pid := ch.process.Pid
	_ = again(func() error { return unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) })
	ch.mu.Lock()
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	ch.state, _ = ch.process.Wait()
	ch.reaped = true
	ch.mu.Unlock()
	for range 8 { // a process may start another one while it is looked for
		if ch.killMarked() == 0 {
			break
		}
	}
	close(ch.done)
}

// kill ends the child with all of its process group. It may be called at any time.
func (ch *child) kill() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if !ch.reaped {
		_ = syscall.Kill(-ch.process.Pid, syscall.SIGKILL)
	}
}

// killMarked ends all processes that have the child's mark and returns how many there were.
func (ch *child) killMarked() int {
	n := 0
	for _, pid := range processes() {
		p, err := os.FindProcess(pid) // by a handle: the number may become another's meanwhile
		if err != nil {
			continue
		}
		if ch.marked(pid) && p.Kill() == nil {
			n++
		}
		_ = p.Release()
	}
	return n
}

// family returns how many processes have the child's mark.
func (ch *child) family() int {
	n := 0
	for _, pid := range processes() {
		if ch.marked(pid) {
			n++
		}
	}
	return n
}

func (ch *child) marked(pid int) bool {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false // gone, or not ours
	}
	defer f.Close()
	env, _ := io.ReadAll(io.LimitReader(f, 64<<10))
	return bytes.Contains(env, []byte(ch.mark))
}

// processes returns the numbers of all processes.
func processes() []int {
	f, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// shedPrivileges takes from this thread, and from what it starts, all privileges of root
// and every way to gain them by running a program.
func shedPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// runtimeMemory is what a Go process with gRPC has as its own before it does anything, most of
// which it never touches: 78 MiB were measured.
const runtimeMemory = 96 << 20

// setLimits limits a process, and what it starts, for good.
func setLimits(pid int, memory int64) error {
	for _, l := range []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_NOFILE, 1024},
		{unix.RLIMIT_DATA, uint64(memory) + runtimeMemory},
	} {
		var old unix.Rlimit
		if err := unix.Prlimit(pid, l.resource, nil, &old); err != nil {
			return err
		}
		most := min(l.most, old.Max)
		if err := unix.Prlimit(pid, l.resource, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
			return err
		}
	}
	return nil
}

// again repeats a call of the kernel that a signal interrupted.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// owned reports whether a file belongs to the user of this process, or to root.
func owned(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (int(st.Uid) == os.Geteuid() || st.Uid == 0)
}

// lock locks a directory until the file is closed, or its process is gone.
func lock(dir string, wait bool) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	if err := again(func() error { return syscall.Flock(int(f.Fd()), how) }); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// writeProgram writes a file that will be run. No process is started meanwhile, since it
// would hold the file open for writing for a moment, and such a file cannot be run.
func writeProgram(name string, write func(io.Writer) error) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o500)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
