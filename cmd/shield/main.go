// Shield is an identity gateway: see README.md. This program is a thin shell around the
// packages of the module.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// version is set at build time.
var version = "dev"

// Exit codes: 0 for success, 1 for failure, 2 for a command line that is not understood.
const (
	failure = 1
	usage   = 2
)

// command is one thing that the program does.
type command struct {
	name  string // one or two words
	args  string
	about string
	run   func(ctx context.Context, c *call) error
}

// call is one use of a command.
type call struct {
	args           []string
	env            func(string) (string, bool)
	stdout, stderr io.Writer
}

var errUsage = errors.New("usage")

func commands() []command {
	return []command{
		{"serve", "-config FILE", "run the gateway until SIGTERM or SIGINT", serve},
		{"health", "-config FILE", "ask the gateway on this machine whether it lives", health},
		{"config check", "FILE", "find every fault of a configuration", configCheck},
		{"config schema", "", "print the JSON Schema of the configuration", configSchema},
		{"migrate up", "-config FILE", "bring the database's schema up to date", migrateUp},
		{"migrate status", "-config FILE", "list migrations; exit 1 if some are pending", migrateStatus},
		{"store copy", "-from URL -to URL [-hold]", "copy a database into an empty one, SQLite or Postgres; env:NAME names a variable with the URL", storeCopy},
		{"store backup", "-from URL OUT", "write a SQLite database that is in use into the file OUT; - is the standard output", storeBackup},
		{"keys list", "-config FILE", "list the signing keys", keysList},
		{"keys rotate", "-config FILE", "make a new signing key and let it take over", keysRotate},
		{"plugin keygen", "KEY", "make a key that signs plugins, and print its public half", pluginKeygen},
		{"plugin sign", "-key KEY FILE", "sign a plugin: writes FILE.sig", pluginSign},
		{"plugin verify", "-key PUBLIC | -config FILE, FILE", "tell who signed a plugin", pluginVerify},
		{"plugin new", "NAME -lang LANGUAGE [-dir DIR]", "make the project of a new plugin", pluginNew},
		{"plugin inspect", "[-json] [-run] FILE", "tell what a plugin file is and asks for", pluginInspect},
		{"plugin test", "[-data FILE] FILE [EXECUTABLE]", "hold a plugin to the contract, in every way that it runs", pluginTest},
		{"plugin call", "FILE (-flow FLOW [-form NAME] | -document PATH) [-json FIELDS] [-state BASE64] [-subject SUBJECT] [-header NAME=VALUE] [-settings JSON] [-data FILE]",
			"make one call of a plugin with a scripted host", pluginCall},
		{"version", "", "print the version", printVersion},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	c, rest, ok := find(args)
	if !ok {
		help(stderr)
		return usage
	}
	err := c.run(ctx, &call{rest, env, stdout, stderr})
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp), errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "usage: shield %s %s\n", c.name, c.args)
		return usage
	}
	fmt.Fprintln(plain{stderr}, "shield:", err)
	return failure
}

// find takes the command of one or two words off the arguments.
func find(args []string) (command, []string, bool) {
	all := commands()
	for _, words := range []int{2, 1} {
		if len(args) < words {
			continue
		}
		name := args[0]
		if words == 2 {
			name += " " + args[1]
		}
		i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
		if i >= 0 {
			return all[i], args[words:], true
		}
	}
	return command{}, nil, false
}

// maxHelpArgs is how long arguments may be to stand in the list of commands.
const maxHelpArgs = 60

func help(w io.Writer) {
	fmt.Fprintln(w, "usage: shield COMMAND")
	fmt.Fprintln(w)
	for _, c := range commands() {
		args := c.args
		if len(args) > maxHelpArgs {
			args = args[:strings.Index(args, " ")] + " ..." // the command's own usage has them all
		}
		fmt.Fprintf(w, "  %-28s %s\n", c.name+" "+args, c.about)
	}
}

func printVersion(_ context.Context, c *call) error {
	_, err := fmt.Fprintln(c.stdout, "shield", version)
	return err
}
