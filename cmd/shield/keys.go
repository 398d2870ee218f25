package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/materi/shield/gateway"
	"github.com/materi/shield/gateway/token"
)

func openKeys(c *call) (*token.Keyring, error) {
	cfg, err := load(c)
	if err != nil {
		return nil, err
	}
	return token.OpenKeyring(token.KeyringOptions{
		Config: cfg.Token, Dir: gateway.KeysDir(cfg), Now: time.Now, Log: newLog(c.stderr, cfg.Log),
	})
}

func keysList(_ context.Context, c *call) error {
	keys, err := openKeys(c)
	if err != nil {
		return err
	}
	return printKeys(c, keys.List())
}

func keysRotate(_ context.Context, c *call) error {
	keys, err := openKeys(c)
	if err != nil {
		return err
	}
	made, err := keys.Rotate()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "made %s; it signs from %s\n\n", made.ID, when(made.ActiveAt))
	return printKeys(c, keys.List())
}

func printKeys(c *call, keys []token.Key) error {
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tALGORITHM\tSTATE\tMADE\tSIGNS FROM\tVERIFIES UNTIL")
	for _, k := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Algorithm, k.State, when(k.CreatedAt), when(k.ActiveAt), when(k.Until))
	}
	return w.Flush()
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
