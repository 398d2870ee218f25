package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway"
	"github.com/materi/shield/gateway/store"
)

// storeCopy copies one database into another.
func storeCopy(ctx context.Context, c *call) error {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	source, target := flags.String("from", "", ""), flags.String("to", "", "")
	hold := flags.Bool("hold", false, "")
	if err := flags.Parse(c.args); err != nil || flags.NArg() > 0 || *source == "" || *target == "" {
		return errUsage
	}
	if *source == *target {
		return errors.New("the source and the target are the same")
	}
	from, err := openURL(ctx, c, *source, true)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	defer from.Close()
	to, err := openURL(ctx, c, *target, false)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer to.Close()
	var held func([]store.Copied) error
	if *hold {
		held = func(copied []store.Copied) error {
			if err := tellCopied(c.stdout, copied); err != nil {
				return err
			}
			fmt.Fprintln(c.stdout, "nobody can write to the source until this program ends: start the gateway on the target, then press Ctrl-C")
			<-ctx.Done()
			return nil
		}
	}
	copied, err := store.Copy(ctx, from, to, held)
	if err != nil {
		return fmt.Errorf("nothing was copied: %w", err)
	}
	if *hold {
		return nil
	}
	return tellCopied(c.stdout, copied)
}

func tellCopied(w io.Writer, copied []store.Copied) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, table := range copied {
		fmt.Fprintf(t, "%s\t%d\n", table.Table, table.Rows)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "copied, read back and compared. Refresh tokens stay valid with the same secret key, access tokens with the same signing keys: take both along")
	return err
}

// openURL opens a database by its URL, or by the variable that env:NAME names: arguments can
// be seen by everybody on the machine. One that must exist is not made.
func openURL(ctx context.Context, c *call, url string, exists bool) (*store.Store, error) {
	if name, ok := strings.CutPrefix(url, "env:"); ok {
		if url, ok = c.env(name); !ok {
			return nil, fmt.Errorf("the variable %s is not set", name)
		}
	}
	path, file := strings.CutPrefix(url, "sqlite:")
	if file && exists {
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
	}
	return gateway.OpenStore(ctx, config.Database{URL: config.NewSecret(url), PoolSize: 2})
}

// storeBackup writes a SQLite database into a file, or to the standard output.
func storeBackup(ctx context.Context, c *call) error {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	source := flags.String("from", "", "")
	if err := flags.Parse(c.args); err != nil || flags.NArg() != 1 || *source == "" {
		return errUsage
	}
	from, err := openURL(ctx, c, *source, true)
	if err != nil {
		return err
	}
	defer from.Close()
	if out := flags.Arg(0); out != "-" {
		return from.Backup(ctx, out)
	}
	return streamBackup(ctx, c, from)
}

// streamBackup writes a backup to the standard output. SQLite can write to files alone, so
// there is one meanwhile: the owner's alone, and without a name as soon as it is written.
func streamBackup(ctx context.Context, c *call, s *store.Store) error {
	dir, err := os.MkdirTemp("", "shield-backup-*") // mode 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "shield.db")
	if err := s.Backup(ctx, path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	_, err = io.Copy(c.stdout, f)
	return err
}
