package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs until somebody ends it. What it says goes into a file.
type process struct {
	*exec.Cmd
	name  string
	last  syscall.Signal // by which it is stopped
	ended chan struct{}
	err   error // when ended is closed
}

// start starts a program whose output goes to a file of its name.
func (in *installation) start(name string, cmd *exec.Cmd) (*process, error) {
	log, err := os.OpenFile(filepath.Join(in.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	cmd.Stderr = log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // nothing outlives the rehearsal
	p := &process{Cmd: cmd, name: name, last: syscall.SIGKILL, ended: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	in.processes = append(in.processes, p)
	return p, nil
}

// end waits until a process has ended, and returns how it did.
func (p *process) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	select {
	case <-p.ended:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%s does not end", p.name)
	}
}

func (p *process) runs() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends a process as a machine that loses its power does.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.ended
}

// stop ends a process at the end of all.
func (p *process) stop() {
	_ = p.Process.Signal(p.last)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		p.kill()
	}
}

// run runs a program to its end and returns what it said.
func run(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// program finds a program, also where Debian hides Postgres' and haproxy.
func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is good
	found = append(found, "/usr/sbin/"+name)
	sort.Strings(found)
	for i := len(found) - 1; i >= 0; i-- {
		if _, err := os.Stat(found[i]); err == nil {
			return found[i], nil
		}
	}
	return "", fmt.Errorf("%s is missing: deploy/rehearse/rollout.sh installs it", name)
}

// freePort returns an address of the loopback that nobody listens on, below the ports that
// outgoing connections take. They are tried in turn, so that no two are the same.
func (in *installation) freePort() (string, error) {
	for ; in.port < 32000; in.port++ {
		address := fmt.Sprintf("127.0.0.1:%d", in.port)
		ln, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		_ = ln.Close()
		in.port++
		return address, nil
	}
	return "", fmt.Errorf("no port is free")
}
