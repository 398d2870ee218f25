package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/materi/shield/gateway/plugin/trial"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
	"github.com/materi/shield/sdk/providertest"
)

// oneCall is what the command line of plugin call says.
type oneCall struct {
	file     string
	flow     sdk.FlowKind
	form     string
	fields   map[string]string
	headers  map[string]string
	subject  string
	saved    []byte
	proceed  bool // Continue, with saved
	document string
	settings string
	script   providertest.Script
}

// pluginCall makes one call of a plugin with a scripted host. What the plugin asked goes to
// standard error, its answer to standard output.
func pluginCall(ctx context.Context, c *call) error {
	c.stdout, c.stderr = plain{c.stdout}, plain{c.stderr}
	o, err := parseCall(c)
	if err != nil {
		return err
	}
	var asked []trial.Asked
	p, err := trial.Open(ctx, trial.Options{File: o.file, CacheDir: compileCache(c.env), Watch: func(e trial.Exchange) { asked = append(asked, e.Asked...) }})
	if err != nil {
		return err
	}
	defer p.Close()
	provider := p.Provider()
	m := provider.Describe()
	faults := provider.Configure([]byte(o.settings))
	if err := fault(provider); err != nil {
		return err
	}
	if len(faults) > 0 {
		return settingsFaults(faults)
	}
	host := providertest.NewFor("call", m)
	o.script.Prepare(host)
	out, err := o.make(ctx, provider, m, host)
	hide := o.hides(m)
	for _, a := range asked {
		fmt.Fprintln(c.stderr, "asked", hide.Replace(a.String()))
	}
	if out != nil {
		// The answer is shown as it is: an author has to see it, and it is his own input.
		_, errWrite := c.stdout.Write(out)
		err = errors.Join(err, errWrite)
	}
	return err
}

func parseCall(c *call) (oneCall, error) {
	o := oneCall{headers: map[string]string{}}
	flags := toolFlags()
	flow := flags.String("flow", "", "")
	flags.StringVar(&o.form, "form", "", "")
	input := flags.String("json", "{}", "")
	settings := flags.String("settings", "", "")
	data := flags.String("data", "", "")
	flags.StringVar(&o.subject, "subject", "", "")
	flags.StringVar(&o.document, "document", "", "")
	flags.Func("state", "", func(s string) (err error) {
		o.proceed = true
		o.saved, err = base64.StdEncoding.DecodeString(s)
		return err
	})
	flags.Func("header", "", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return errUsage
		}
		o.headers[strings.ToLower(name)] = value
		return nil
	})
	files, err := positionals(flags, c.args, 1, 1)
	if err != nil {
		return o, err
	}
	o.file, o.flow = files[0], sdk.FlowKind(*flow)
	if (o.flow == "") == (o.document == "") {
		return o, errUsage
	}
	if o.fields, err = inputOf(*input); err != nil {
		return o, err
	}
	if o.script, _, err = readScript(*data, o.file); err != nil {
		return o, err
	}
	if len(o.headers) == 0 {
		o.headers = o.script.Headers
	}
	o.settings, err = settingsOf(*settings, o.script)
	return o, err
}

// inputOf reads the value of the flag -json.
func inputOf(text string) (map[string]string, error) {
	text, err := fileOr(text)
	if err != nil {
		return nil, err
	}
	var fields map[string]string
	d := json.NewDecoder(strings.NewReader(text))
	if err := d.Decode(&fields); err != nil {
		return nil, fmt.Errorf(`-json: want a JSON object of strings, such as '{"email": "ada@example.test"}': %w`, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("-json: something follows the object")
	}
	return fields, nil
}

// settingsOf returns the settings: those of the flag, of the script, or none.
func settingsOf(text string, script providertest.Script) (string, error) {
	if text != "" {
		return fileOr(text)
	}
	if len(script.Settings) > 0 {
		return string(script.Settings), nil
	}
	return "{}", nil
}

// fileOr returns text, or the content of the file that it names as @FILE.
func fileOr(text string) (string, error) {
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		return text, nil
	}
	b, err := os.ReadFile(name)
	return string(b), err
}

func fault(p sdk.Provider) error {
	if f, ok := p.(interface{ Fault() error }); ok {
		return f.Fault()
	}
	return nil
}

func settingsFaults(faults []sdk.Fault) error {
	var errs []error
	for _, f := range faults {
		path := f.Path
		if path == "" {
			path = "(all)"
		}
		errs = append(errs, fmt.Errorf("  %s: %s", path, f.Message))
	}
	return fmt.Errorf("the plugin refuses its settings:\n%w", errors.Join(errs...))
}

// make makes the call and returns the answer as JSON, with an error if the gateway would not
// take it.
func (o oneCall) make(ctx context.Context, p sdk.Provider, m sdk.Manifest, host *providertest.Host) ([]byte, error) {
	req := sdk.Request{
		Fields: o.fields, Headers: o.headers, Path: o.document,
		IP: "192.0.2.1", UserAgent: "shield plugin call", Locale: "en", Now: host.Now(),
	}
	if o.document != "" {
		return o.serve(ctx, p, host, req)
	}
	form, err := formOf(m, o.flow, o.form)
	if err != nil {
		return nil, err
	}
	flow := sdk.Flow{
		ID: "0190f3c2-0000-7000-8000-000000000001", Kind: o.flow, Form: form, Subject: o.subject,
		CallbackURL: "https://id.example.test/callback", State: "state", Nonce: "nonce",
		PKCEVerifier: "verifier", PKCEChallenge: "challenge", Saved: o.saved, StartedAt: host.Now(),
	}
	made := host.Begin
	if o.proceed {
		made = host.Continue
	}
	step, err := made(ctx, p, flow, req)
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		return trial.ErrorJSON(*e), refused(contract.Error(*e))
	}
	if err != nil {
		return nil, err
	}
	return trial.StepJSON(step), refused(contract.Step(flow.Kind, step))
}

func (o oneCall) serve(ctx context.Context, p sdk.Provider, host *providertest.Host, req sdk.Request) ([]byte, error) {
	server, ok := p.(sdk.Server)
	if !ok {
		return nil, errors.New("the plugin serves no documents")
	}
	r, err := server.Serve(ctx, host.Call(), req)
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		return trial.ErrorJSON(*e), refused(contract.Error(*e))
	}
	if err != nil {
		return nil, err
	}
	return trial.DocumentJSON(r), refused(contract.Response(r))
}

// refused is the error for an answer that the gateway would not take.
func refused(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the gateway would refuse this answer: %w", err)
}

// formOf returns the name of a form of the flow: the one that is named, or the only one.
func formOf(m sdk.Manifest, flow sdk.FlowKind, name string) (string, error) {
	var names []string
	for _, f := range m.Forms {
		if f.Flow == flow {
			names = append(names, f.Name)
		}
	}
	switch {
	case slices.Contains(names, name):
		return name, nil
	case len(names) == 0:
		return "", fmt.Errorf("the plugin has no form for flow %q", flow)
	case name == "" && len(names) == 1:
		return names[0], nil
	case name == "":
		return "", fmt.Errorf("flow %q has several forms: say which by -form (%s)", flow, strings.Join(names, ", "))
	}
	return "", fmt.Errorf("flow %q has no form %q; it has: %s", flow, name, strings.Join(names, ", "))
}

// hides returns what takes passwords and secrets out of what is shown of the calls to the
// host.
func (o oneCall) hides(m sdk.Manifest) *strings.Replacer {
	var values []string
	for _, value := range o.script.Secrets {
		values = append(values, value)
	}
	for _, form := range m.Forms {
		for _, f := range form.Fields {
			if f.Type == "password" {
				values = append(values, o.fields[f.Name])
			}
		}
	}
	// The longest first: one value can be the beginning of another.
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, value := range values {
		if value == "" {
			continue
		}
		quoted := strconv.Quote(value) // as texts are shown
		pairs = append(pairs, value, "[redacted]", quoted[1:len(quoted)-1], "[redacted]")
	}
	return strings.NewReplacer(pairs...)
}
