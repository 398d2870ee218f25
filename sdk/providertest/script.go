package providertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/materi/shield/sdk"
)

// Script is the file, plugin.test.json by name, with what a suite must know of a provider
// and what its scripted host does. All of it may be left out; what is unknown is refused.
//
//	{
//	  "settings": {"domain": "example.test"},
//	  "bad_settings": [{"domain": 7}],
//	  "fields": {"password": {"name": "ada", "password": "1815-12-10"}},
//	  "headers": {"x-api-key": "..."},
//	  "secrets": {"client_secret": "..."},
//	  "private_keys": ["signing"],
//	  "sites": [{"url": "https://api.example.test/users", "status": 200, "body": {"id": 7}}],
//	  "expect": [{"form": "password", "fields": {"name": "ada"}, "step": "done", "subject": "ada"}]
//	}
type Script struct {
	Settings    json.RawMessage              `json:"settings"`     // of the provider, good ones
	BadSettings []json.RawMessage            `json:"bad_settings"` // that the provider must refuse
	Fields      map[string]map[string]string `json:"fields"`       // good input by form
	Headers     map[string]string            `json:"headers"`      // good request headers
	Secrets     map[string]string            `json:"secrets"`      // by name
	PrivateKeys []string                     `json:"private_keys"` // names of the host's one private key
	Sites       []ScriptedSite               `json:"sites"`        // that answer requests; all others are not allowed
	Expect      []Expectation                `json:"expect"`       // calls with their answers, in order
}

// ScriptedSite is one answer of another server, to every request for its URL and what lies
// below.
type ScriptedSite struct {
	URL    string            `json:"url"`
	Method string            `json:"method"` // empty: any
	Status int               `json:"status"` // 0: 200
	Header map[string]string `json:"header"`
	Body   json.RawMessage   `json:"body"`  // a string as it is, or any other JSON
	Error  string            `json:"error"` // in place of an answer: "denied", "unreachable", "too_large" or "exhausted"
}

// MaxScript bounds the file of a [Script], in bytes.
const MaxScript = 4 << 20

// ReadScript reads a [Script]. The error names every fault.
func ReadScript(b []byte) (Script, error) {
	if len(b) > MaxScript {
		return Script{}, fmt.Errorf("%d bytes, at most %d are allowed", len(b), MaxScript)
	}
	if err := twice(b); err != nil {
		return Script{}, err
	}
	var s Script
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return Script{}, readable(b, d, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Script{}, fmt.Errorf("line %d: something follows the object", line(b, d.InputOffset()))
	}
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		return Script{}, errors.New("want a JSON object")
	}
	return s, s.faults()
}

// twice returns an error if an object has a member twice, of which the decoder would take the
// last. Bytes that are no JSON are left to the decoder.
func twice(b []byte) error {
	type level struct {
		seen map[string]bool // nil in a list
		key  bool            // the next token is a name
	}
	var open []level
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return nil
		}
		if n := len(open); n > 0 && open[n-1].seen != nil {
			name, isName := token.(string)
			if open[n-1].key && isName {
				if open[n-1].seen[name] {
					return fmt.Errorf("line %d: %q is there twice", line(b, d.InputOffset()), name)
				}
				open[n-1].seen[name] = true
			}
			open[n-1].key = !open[n-1].key
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{map[string]bool{}, true})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
	}
}

// readable returns an error of the decoder with the line that it is about.
func readable(b []byte, d *json.Decoder, err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("line %d: %s must not be a JSON %s", line(b, e.Offset), e.Field, e.Value)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("line %d: not JSON: %w", line(b, e.Offset), e)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: the object has no end")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: ")) // names the unknown key
}

func line(b []byte, offset int64) int {
	return 1 + bytes.Count(b[:min(max(offset, 0), int64(len(b)))], []byte("\n"))
}

func (s Script) faults() error {
	var errs []error
	rule := func(broken bool, format string, args ...any) {
		if broken {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	rule(len(s.Settings) > 0 && !isObject(s.Settings), "settings: want a JSON object")
	for i, site := range s.Sites {
		u, err := url.Parse(site.URL)
		rule(err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "", "sites[%d].url %q: want http or https and a host", i, site.URL)
		rule(site.Status != 0 && (site.Status < 100 || site.Status > 599), "sites[%d].status %d: want 100 to 599", i, site.Status)
		_, known := siteErrors()[site.Error]
		rule(!known, "sites[%d].error %q: want denied, unreachable, too_large or exhausted", i, site.Error)
		rule(site.Error != "" && (site.Status != 0 || site.Header != nil || site.Body != nil), "sites[%d]: an error has no status, header or body", i)
	}
	for i, e := range s.Expect {
		for _, fault := range e.faults() {
			rule(true, "expect[%d]: %s", i, fault)
		}
		rule(i == 0 && e.Continue, "expect[0]: continue needs a step before it")
	}
	return errors.Join(errs...)
}

func isObject(b []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) }

func siteErrors() map[string]error {
	return map[string]error{
		"": nil, "denied": sdk.ErrDenied, "unreachable": sdk.ErrUnreachable,
		"too_large": sdk.ErrTooLarge, "exhausted": sdk.ErrExhausted,
	}
}

// Suite returns the suite of a provider that new makes.
func (s Script) Suite(new func() sdk.Provider) Suite {
	suite := Suite{
		New: new, Settings: string(s.Settings), Fields: s.Fields, Headers: s.Headers,
		Prepare: s.Prepare, Expect: s.Expect,
	}
	for _, bad := range s.BadSettings {
		suite.BadSettings = append(suite.BadSettings, string(bad))
	}
	return suite
}

// Prepare sets the scene on a host.
func (s Script) Prepare(h *Host) {
	for name, value := range s.Secrets {
		h.Secret(name, value)
	}
	for _, name := range s.PrivateKeys {
		h.PrivateKey(name)
	}
	byURL := make(map[string][]ScriptedSite)
	for _, site := range s.Sites {
		if site.Method != "" {
			byURL[site.URL] = append(byURL[site.URL], site)
		}
	}
	for _, site := range s.Sites {
		if site.Method == "" { // after those for one method
			byURL[site.URL] = append(byURL[site.URL], site)
		}
	}
	for below, sites := range byURL {
		h.Site(below, func(r sdk.HTTPRequest) (sdk.HTTPResponse, error) {
			for _, site := range sites {
				if site.Method == "" || strings.EqualFold(site.Method, r.Method) {
					return site.answer()
				}
			}
			return sdk.HTTPResponse{Status: 405}, nil
		})
	}
}

func (s ScriptedSite) answer() (sdk.HTTPResponse, error) {
	if s.Error != "" {
		return sdk.HTTPResponse{}, siteErrors()[s.Error]
	}
	r := sdk.HTTPResponse{Status: s.Status, Body: s.body()}
	if r.Status == 0 {
		r.Status = 200
	}
	for _, name := range slices.Sorted(maps.Keys(s.Header)) {
		r.Header = append(r.Header, sdk.HTTPHeader{Name: name, Value: s.Header[name]})
	}
	return r, nil
}

func (s ScriptedSite) body() []byte {
	var text string
	if json.Unmarshal(s.Body, &text) == nil {
		return []byte(text)
	}
	var compact bytes.Buffer
	if json.Compact(&compact, s.Body) != nil {
		return nil
	}
	return compact.Bytes()
}
