package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway"
)

// load reads the configuration that the flag -config or the variable SHIELD_CONFIG names.
func load(c *call) (config.Config, error) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	fallback, _ := c.env("SHIELD_CONFIG")
	path := flags.String("config", fallback, "")
	if err := flags.Parse(c.args); err != nil || flags.NArg() > 0 || *path == "" {
		return config.Config{}, errUsage
	}
	return config.Load(*path, c.env)
}

func configCheck(_ context.Context, c *call) error {
	if len(c.args) != 1 || strings.HasPrefix(c.args[0], "-") {
		return errUsage
	}
	cfg, err := config.Load(c.args[0], c.env)
	if err == nil {
		err = gateway.CheckRoutes(cfg)
	}
	if err != nil {
		return fmt.Errorf("the configuration is not valid:\n%w", err)
	}
	for _, u := range config.UnusedVariables(cfg, c.env) {
		fmt.Fprintf(c.stderr, "shield: $%s has no effect: no provider is named %s\n", u.Variable, u.Provider)
	}
	_, err = fmt.Fprintln(c.stdout, c.args[0]+": ok")
	return err
}

func configSchema(_ context.Context, c *call) error {
	if len(c.args) != 0 {
		return errUsage
	}
	_, err := c.stdout.Write(append(config.Schema(), '\n'))
	return err
}

// warnOfUnused tells of variables that the operator set for nothing.
func warnOfUnused(log *slog.Logger, c *call, cfg config.Config) {
	for _, u := range config.UnusedVariables(cfg, c.env) {
		log.Warn("an environment variable has no effect: no provider has the name that it is for", "variable", u.Variable, "provider", u.Provider)
	}
}

// newLog writes JSON records of at least the configured level.
func newLog(w io.Writer, cfg config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // config allows only levels that slog knows
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
