// Rollout rehearses what is done to an installation, and what happens to it, while it is in
// use: three gateways behind haproxy, with Postgres and its replica, Redis, an OpenID provider,
// a mail server and an upstream, all of them real processes on the loopback, and people who log
// in, refresh, read and write through it without a pause. It prints a row for each scenario:
// what they asked, what went wrong, and how long they waited at most. It fails if anything
// went wrong that may not.
//
// Run it by deploy/rehearse/rollout.sh, which installs what it needs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// atMost is how long all of it may take.
const atMost = 8 * time.Minute

func main() {
	keep := flag.Bool("keep", false, "keep the directory with the logs")
	only := flag.String("only", "", "names of scenarios, separated by commas; empty: all of them")
	plain := flag.Bool("tsv", false, "print rows with tabs between, without padding")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	if err := rehearse(ctx, *only, *keep, *plain); err != nil {
		fmt.Fprintln(os.Stderr, "rehearsal:", err)
		os.Exit(1)
	}
}

func rehearse(ctx context.Context, only string, keep, plain bool) (err error) {
	in, err := install(ctx)
	if err != nil {
		return err
	}
	defer func() {
		in.stop()
		if keep || err != nil {
			fmt.Fprintln(os.Stderr, "logs are in", in.dir)
			return
		}
		_ = os.RemoveAll(in.dir)
	}()
	if err := in.startAll(ctx); err != nil {
		return err
	}
	b := &book{}
	m, err := gather(ctx, in, b)
	if err != nil {
		return err
	}
	rows, failed, err := in.play(ctx, m, b, only)
	if err := tell(rows, plain); err != nil {
		return err
	}
	if err == nil && len(failed) > 0 {
		err = errors.New("failed: " + strings.Join(failed, ", "))
	}
	return err
}

// play runs the scenarios while the people work, and returns a row for each.
func (in *installation) play(ctx context.Context, m *mix, b *book, only string) (rows []string, failed []string, err error) {
	all := in.scenarios(m)
	if only != "" {
		names := strings.Split(only, ",")
		all = slices.DeleteFunc(all, func(s scenario) bool { return !slices.Contains(names, s.name) })
	}
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("no scenario is called %q", only)
	}
	working, home := context.WithCancel(ctx)
	defer home()
	b.turn(all[0].name)
	gone := m.work(working)
	for i, s := range all {
		began := time.Now()
		may, err := s.play(ctx)
		if err == nil {
			err = pause(ctx, calm) // what comes of it late belongs to it
		}
		next := "the end"
		if i+1 < len(all) {
			next = all[i+1].name
		}
		p := b.turn(next)
		faults := p.verdict(may, err)
		rows = append(rows, p.row(len(faults) == 0))
		fmt.Fprintf(os.Stderr, "%s: %.1f s\n", s.name, time.Since(began).Seconds())
		if len(faults) > 0 {
			failed = append(failed, s.name)
		}
		for _, f := range faults {
			fmt.Fprintf(os.Stderr, "%s: %s\n", s.name, f)
		}
		if err != nil { // what follows would begin from an unknown state
			break
		}
	}
	home()
	<-gone
	if ctx.Err() != nil {
		return rows, failed, ctx.Err()
	}
	late := b.turn("everybody comes back").kinds() // between the last scenario and going home
	sessions, lost := m.comeBack(ctx)
	maps.Copy(lost, late)
	rows = append(rows, fmt.Sprintf("everybody comes back\t%d\t%s\t-\t-\t%s", sessions, orNone(lost), result(len(lost) == 0)))
	if len(lost) > 0 {
		failed = append(failed, "everybody comes back")
	}
	return rows, failed, nil
}

const header = "scenario\trequests\terrors\tlongest wait\tlongest gap\tresult"

func tell(rows []string, plain bool) error {
	if plain {
		for _, r := range rows {
			fmt.Println(r)
		}
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range append([]string{header}, rows...) {
		fmt.Fprintln(w, r)
	}
	return w.Flush()
}

func result(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAIL"
}

// pause waits, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// await asks until it is so, for at most a minute.
func await(ctx context.Context, what string, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !so() {
		if pause(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("timed out waiting until %s", what)
		}
	}
	return nil
}
