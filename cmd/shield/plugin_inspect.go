package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/plugin/anatomy"
	"github.com/materi/shield/gateway/plugin/trial"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
)

// inspection is what is known of a plugin file. The names are those of the JSON output.
type inspection struct {
	File         string           `json:"file"`
	Kind         anatomy.FileKind `json:"kind"`
	Size         int              `json:"size"`
	SHA256       string           `json:"sha256"`
	Signatures   []signer         `json:"signatures"`
	Imports      []string         `json:"imports,omitempty"`
	Exports      []string         `json:"exports,omitempty"`
	MemoryMin    int64            `json:"memory_min,omitempty"`
	MemoryMax    int64            `json:"memory_max,omitempty"`
	GoVersion    string           `json:"go_version,omitempty"`
	GoPackage    string           `json:"go_package,omitempty"`
	Capabilities []sdk.Capability `json:"imported_capabilities,omitempty"`
	Manifest     *manifestJSON    `json:"manifest,omitempty"`
	Fault        string           `json:"fault,omitempty"`
}

// signer is one signature of the file beside a plugin. It is not verified here.
type signer struct {
	Key       string `json:"key"`
	OtherFile bool   `json:"of_another_file,omitempty"`
}

type manifestJSON struct {
	ID           string           `json:"id"`
	Version      string           `json:"version"`
	ABI          uint32           `json:"abi"`
	Kind         string           `json:"kind"`
	Forms        []formJSON       `json:"forms"`
	Capabilities []sdk.Capability `json:"capabilities"`
	Concurrent   bool             `json:"concurrent,omitempty"`
	Documents    bool             `json:"documents,omitempty"`
	ConfigSchema json.RawMessage  `json:"config_schema,omitempty"`
}

type formJSON struct {
	Flow   sdk.FlowKind `json:"flow"`
	Name   string       `json:"name"`
	Fields []string     `json:"fields"`
}

// pluginInspect tells what a plugin file is. What stands in the file comes first; then it is
// started and asked what it is, and whatever it asks of the host in turn is refused. A module
// can do nothing else. An executable would run with all the rights of who inspects it, so it
// is started only by -run.
func pluginInspect(ctx context.Context, c *call) error {
	c.stdout, c.stderr = plain{c.stdout}, plain{c.stderr}
	flags := toolFlags()
	asJSON := flags.Bool("json", false, "")
	run := flags.Bool("run", false, "")
	files, err := positionals(flags, c.args, 1, 1)
	if err != nil {
		return err
	}
	i, err := inspect(ctx, files[0], compileCache(c.env), *run)
	if i.File == "" {
		return err
	}
	if err != nil {
		i.Fault = err.Error()
	}
	write := i.print
	if *asJSON {
		write = i.printJSON
	}
	return errors.Join(write(c.stdout), err)
}

func inspect(ctx context.Context, file, cache string, run bool) (inspection, error) {
	code, err := plugin.ReadFile(file)
	if err != nil {
		return inspection{}, err
	}
	sum := sha256.Sum256(code)
	i := inspection{
		File: file, Kind: anatomy.Kind(code), Size: len(code), SHA256: hex.EncodeToString(sum[:]),
		Signatures: signers(file, hex.EncodeToString(sum[:])),
	}
	if i.Kind == anatomy.Executable {
		i.GoVersion, i.GoPackage = anatomy.BuildInfo(code)
		if !run {
			return i, nil
		}
	} else {
		a, err := anatomy.Read(code)
		for _, imported := range a.Imports {
			i.Imports = append(i.Imports, imported.String())
		}
		i.Exports, i.Capabilities = a.Exports, a.Capabilities
		i.MemoryMin, i.MemoryMax = a.MemoryMin, a.MemoryMax
		if err != nil {
			return i, err
		}
	}
	return i, i.ask(ctx, file, cache)
}

// ask starts the plugin and asks for its manifest.
func (i *inspection) ask(ctx context.Context, file, cache string) error {
	p, err := trial.Open(ctx, trial.Options{File: file, CacheDir: cache})
	if err != nil {
		return err
	}
	defer p.Close()
	provider := p.Provider()
	m := provider.Describe()
	if err := provider.(interface{ Fault() error }).Fault(); err != nil {
		return err
	}
	_, documents := provider.(sdk.Server)
	i.Manifest = &manifestJSON{
		ID: m.ID, Version: m.Version, ABI: m.ABI, Kind: m.Kind, Forms: []formJSON{},
		Capabilities: append([]sdk.Capability{}, m.Capabilities...), // empty lists, not null
		Concurrent:   m.Concurrent, Documents: documents,
	}
	if json.Valid(m.ConfigSchema) {
		i.Manifest.ConfigSchema = m.ConfigSchema
	}
	for _, f := range m.Forms {
		form := formJSON{Flow: f.Flow, Name: f.Name, Fields: []string{}}
		for _, field := range f.Fields {
			form.Fields = append(form.Fields, field.Name)
		}
		i.Manifest.Forms = append(i.Manifest.Forms, form)
	}
	if err := contract.Manifest(m); err != nil {
		return fmt.Errorf("the manifest is not valid: %w", err)
	}
	return nil
}

// signers reads the signature file beside a plugin: a line for each, with the algorithm, the
// key, the digest of the file and the signature. Whether one holds depends on the keys that
// are believed: that is for plugin verify.
func signers(file, digest string) []signer {
	list := []signer{}
	b, err := plugin.ReadSignature(file)
	if err != nil {
		return list
	}
	for text := range strings.Lines(string(b)) {
		parts := strings.Fields(text)
		if len(parts) == 4 && parts[0] == "ed25519" {
			list = append(list, signer{Key: parts[1], OtherFile: parts[2] != digest})
		}
	}
	return list
}

func (i inspection) printJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(i)
}

func (i inspection) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	row("file", "%s", i.File)
	row("kind", "%s", i.Kind)
	row("size", "%d bytes", i.Size)
	row("sha256", "%s", i.SHA256)
	row("signatures", "%s", i.signatures())
	if i.GoVersion != "" {
		row("built", "%s, %s", i.GoPackage, i.GoVersion)
	}
	if i.Kind == anatomy.Module {
		row("memory", "%s", i.memory())
		row("exports", "%s", listed(i.Exports))
		for _, line := range byModule(i.Imports) {
			row("imports", "%s", line)
		}
		row("imported capabilities", "%s", listed(i.Capabilities))
	}
	if m := i.Manifest; m != nil {
		row("id", "%s", m.ID)
		row("version", "%s", m.Version)
		row("abi", "%d", m.ABI)
		row("provider kind", "%s", m.Kind)
		row("declared capabilities", "%s", listed(m.Capabilities))
		for _, f := range m.Forms {
			row("form", "%s/%s (%s)", f.Flow, f.Name, strings.Join(f.Fields, ", "))
		}
		if m.Documents {
			row("documents", "yes")
		}
		if m.ConfigSchema != nil {
			row("settings", "%s", m.ConfigSchema)
		}
	}
	return w.Flush()
}

func (i inspection) signatures() string {
	if len(i.Signatures) == 0 {
		return "none"
	}
	var list []string
	for _, s := range i.Signatures {
		text := "key " + s.Key
		if s.OtherFile {
			text += " (of another file)"
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ") + "; not verified: see shield plugin verify"
}

func (i inspection) memory() string {
	text := fmt.Sprintf("%d bytes at the start", i.MemoryMin)
	if i.MemoryMax > 0 {
		text += fmt.Sprintf(", at most %d", i.MemoryMax)
	}
	return text
}

// byModule returns a line for each module that something is imported from.
func byModule(imports []string) []string {
	var modules []string
	functions := make(map[string][]string)
	for _, i := range imports {
		module, function, _ := strings.Cut(i, ".")
		if !slices.Contains(modules, module) {
			modules = append(modules, module)
		}
		if !slices.Contains(functions[module], function) {
			functions[module] = append(functions[module], function)
		}
	}
	var lines []string
	for _, m := range modules {
		lines = append(lines, m+": "+strings.Join(functions[m], " "))
	}
	return lines
}

// printable makes one line of a text that the plugin chose, without what moves a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.Join(strings.Fields(s), " "))
}

func listed[S ~string](list []S) string {
	if len(list) == 0 {
		return "none"
	}
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return strings.Join(out, " ")
}
