package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/plugin/anatomy"
	"github.com/materi/shield/gateway/plugin/trial"
	"github.com/materi/shield/sdk/providertest"
)

// tried is one file run in one way, with all that the plugin did.
type tried struct {
	file       string
	way        trial.Way
	transcript *trial.Transcript
}

func (t tried) String() string {
	if t.way == trial.Process {
		return string(t.way) + " " + t.file
	}
	return string(t.way)
}

// pluginTest runs the suite on plugin files: on a module by the compiler and by the
// interpreter, on an executable as a process. All must pass, and give the same answers.
func pluginTest(ctx context.Context, c *call) error {
	c.stdout, c.stderr = plain{c.stdout}, plain{c.stderr}
	flags := toolFlags()
	data := flags.String("data", "", "")
	files, err := positionals(flags, c.args, 1, 2)
	if err != nil {
		return err
	}
	script, from, err := readScript(*data, files[0])
	if err != nil {
		return err
	}
	if from == "" {
		fmt.Fprintf(c.stdout, "no %s beside the plugin: testing with settings {} and made-up input\n", scriptName)
	}
	rounds, err := roundsOf(files)
	if err != nil {
		return err
	}
	b := &bench{ctx: ctx, out: c.stdout, script: script, cache: compileCache(c.env)}
	return b.run(rounds)
}

// roundsOf returns in which ways files are to be run.
func roundsOf(files []string) ([]tried, error) {
	var list []tried
	for _, file := range files {
		code, err := plugin.ReadFile(file)
		if err != nil {
			return nil, err
		}
		ways := []trial.Way{trial.Compiler, trial.Interpreter}
		if anatomy.Kind(code) == anatomy.Executable {
			ways = []trial.Way{trial.Process}
		}
		for _, way := range ways {
			list = append(list, tried{file: file, way: way})
		}
	}
	return list, nil
}

// bench is where the rounds of one test are run.
type bench struct {
	ctx      context.Context
	out      io.Writer
	script   providertest.Script
	cache    string
	failures int
	checks   int
}

func (b *bench) run(rounds []tried) error {
	for i := range rounds {
		fmt.Fprintf(b.out, "%v\n", rounds[i])
		if err := b.round(&rounds[i], b.report); err != nil {
			return err
		}
	}
	if len(rounds) > 1 {
		fmt.Fprintln(b.out, "comparison")
	}
	for _, other := range rounds[1:] {
		differences, err := b.compare(rounds[0], other)
		if err != nil {
			return err
		}
		b.report(fmt.Sprintf("%v and %v give the same answers", rounds[0], other),
			"The plugin must not depend on how it is run: look for maps that it walks through, for pointers, and for floating point.", differences)
	}
	if b.failures > 0 {
		return fmt.Errorf("%d of %d checks failed", b.failures, b.checks)
	}
	_, err := fmt.Fprintf(b.out, "all %d checks passed\n", b.checks)
	return err
}

// round runs the suite on one file in one way.
func (b *bench) round(t *tried, report func(name, hint string, failures []string)) (err error) {
	t.transcript = &trial.Transcript{}
	p, err := trial.Open(b.ctx, trial.Options{File: t.file, Way: t.way, CacheDir: b.cache, Watch: t.transcript.Add})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	suite := b.script.Suite(p.Provider)
	suite.After = p.Release
	checks := append([]providertest.Check{imports(p)}, suite.Checks()...)
	for _, check := range checks {
		failures := check.Failures()
		if b.ctx.Err() != nil {
			return b.ctx.Err()
		}
		report(check.Name, check.Hint, failures)
	}
	return nil
}

// imports is the check of what the gateway compares when it loads a module.
func imports(p *trial.Plugin) providertest.Check {
	return providertest.NewCheck("imported capabilities are declared",
		"Name them in Manifest.Capabilities, or do not call them: an import that is not declared is refused at load.",
		func(t providertest.T) {
			declared := p.Provider().Describe().Capabilities
			for _, c := range p.Capabilities() {
				if !slices.Contains(declared, c) {
					t.Errorf("the module imports capability %q, which its manifest does not declare", c)
				}
			}
		})
}

func (b *bench) report(name, hint string, failures []string) {
	b.checks++
	if len(failures) == 0 {
		fmt.Fprintf(b.out, "  ok    %s\n", name)
		return
	}
	b.failures++
	fmt.Fprintf(b.out, "  FAIL  %s\n", name)
	for _, f := range failures {
		fmt.Fprintln(b.out, indent(f, "          "))
	}
	fmt.Fprintf(b.out, "        hint: %s\n", hint)
}

// compare returns where two rounds differ. If they do, the first is made once more, to know
// what the plugin draws at random.
func (b *bench) compare(reference, other tried) ([]string, error) {
	if len(trial.Compare(reference.transcript, reference.transcript, other.transcript)) == 0 {
		return nil, nil
	}
	again := tried{file: reference.file, way: reference.way}
	if err := b.round(&again, func(string, string, []string) {}); err != nil {
		return nil, err
	}
	return trial.Compare(reference.transcript, again.transcript, other.transcript), nil
}
