package providertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
)

// Expectation is one call with what its answer must be. What is empty is not compared.
type Expectation struct {
	Flow     sdk.FlowKind      `json:"flow"`     // needed only if several flows have a form of this name
	Form     string            `json:"form"`     // the form that begins the flow
	Continue bool              `json:"continue"` // go on with the flow of the step before, with what that saved
	Fields   map[string]string `json:"fields"`   // what the person sends
	Headers  map[string]string `json:"headers"`  // in place of those of the suite
	Document string            `json:"document"` // in place of form: the path of a document that is asked for

	Step     string `json:"step"`     // "done", "denied", ..., "error", or "document"
	Subject  string `json:"subject"`  // done, changed
	Code     string `json:"code"`     // denied, error
	URL      string `json:"url"`      // redirect, post: what its URL begins with
	Template string `json:"template"` // mail
	Status   int    `json:"status"`   // document
	Contains string `json:"contains"` // document: part of its body
}

// The answers that are no step.
const (
	stepError    = "error"
	stepDocument = "document"
)

// String returns what is asked and what is wanted, without what the person sends.
func (e Expectation) String() string {
	what := e.Form
	if e.Flow != "" {
		what = string(e.Flow) + "/" + e.Form
	}
	if e.Continue {
		what = "continue"
	}
	if e.Step == stepDocument {
		what = e.Document
	}
	return fmt.Sprintf("%s -> %s", what, e.Step)
}

// faults returns what is wrong with an expectation itself.
func (e Expectation) faults() []string {
	var out []string
	rule := func(broken bool, fault string) {
		if broken {
			out = append(out, fault)
		}
	}
	steps := []string{"redirect", "post", "prompt", "mail", "done", "changed", "denied", stepError, stepDocument}
	known := false
	for _, s := range steps {
		known = known || s == e.Step
	}
	rule(!known, fmt.Sprintf("step %q: want one of %s", e.Step, strings.Join(steps, ", ")))
	document := e.Step == stepDocument || e.Document != ""
	rule(document && (e.Form != "" || e.Flow != "" || e.Continue), "document is instead of form, flow and continue")
	rule(!document && (e.Form == "") != e.Continue, "want form, or continue, or document")
	rule(e.Continue && e.Flow != "", "continue goes on with the flow of the step before: leave out flow")
	for _, only := range []struct {
		name  string
		set   bool
		steps string
	}{
		{"subject", e.Subject != "", "done changed"},
		{"code", e.Code != "", "denied error"},
		{"url", e.URL != "", "redirect post"},
		{"template", e.Template != "", "mail"},
		{"status", e.Status != 0, stepDocument},
		{"contains", e.Contains != "", stepDocument},
	} {
		rule(known && only.set && !strings.Contains(" "+only.steps+" ", " "+e.Step+" "),
			fmt.Sprintf("%s has no meaning for step %q", only.name, e.Step))
	}
	return out
}

// expected makes the calls of the list up to the one at index last and compares the answer
// to that one.
func (s Suite) expected(t T, last int) {
	p, m, h := s.ready(t)
	var flow sdk.Flow
	for i, e := range s.Expect[:last+1] {
		got := answer{}
		switch {
		case e.Document != "" || e.Step == stepDocument:
			got = document(p, h, e, s.Headers)
		case e.Continue:
			got = s.step(h, p.Continue, flow, e)
		default:
			begun, err := begin(m, h, e)
			if err != nil {
				t.Fatalf("%v", err)
			}
			flow = begun
			got = s.step(h, p.Begin, flow, e)
		}
		flow.Saved = got.step.Save
		if i < last {
			continue
		}
		for _, fault := range got.differs(e, flow) {
			t.Errorf("%s", fault)
		}
	}
}

// begin returns the flow that a form begins.
func begin(m sdk.Manifest, h *Host, e Expectation) (sdk.Flow, error) {
	var found []sdk.Form
	for _, f := range m.Forms {
		if f.Name == e.Form && (e.Flow == "" || e.Flow == f.Flow) {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 0:
		return sdk.Flow{}, fmt.Errorf("the manifest has no form %q of flow %q", e.Form, e.Flow)
	case 1:
		return flow(found[0], h.Now()), nil
	}
	return sdk.Flow{}, fmt.Errorf("form %q is in several flows: say which by flow", e.Form)
}

// answer is whatever came of a call.
type answer struct {
	step     sdk.Step
	response *sdk.Response
	err      error
}

func (s Suite) step(h *Host, f function, flow sdk.Flow, e Expectation) answer {
	step, err := h.call(context.Background(), f, flow, expectedRequest(e, s.Headers))
	return answer{step: step, err: err}
}

func expectedRequest(e Expectation, headers map[string]string) sdk.Request {
	r := request(e.Fields)
	r.Headers = headers
	if e.Headers != nil {
		r.Headers = e.Headers
	}
	return r
}

func document(p sdk.Provider, h *Host, e Expectation, headers map[string]string) answer {
	server, ok := p.(sdk.Server)
	if !ok {
		return answer{err: errors.New("the provider serves no documents")}
	}
	r := expectedRequest(e, headers)
	r.Path, r.Now = e.Document, h.Now()
	c := h.Call()
	response, err := server.Serve(context.Background(), c, r)
	if err != nil {
		return answer{err: err}
	}
	return answer{response: &response, err: c.Commit()}
}

func (a answer) kind() string {
	switch {
	case a.err != nil:
		return stepError
	case a.response != nil:
		return stepDocument
	}
	return a.step.Kind()
}

// differs returns where an answer is another than expected.
func (a answer) differs(e Expectation, flow sdk.Flow) []string {
	if a.kind() != e.Step {
		return []string{fmt.Sprintf("the answer is %s, want %s", a, e.Step)}
	}
	var out []string
	same := func(what, got, want string) {
		if want != "" && got != want {
			out = append(out, fmt.Sprintf("%s = %q, want %q", what, got, want))
		}
	}
	same("code", a.code(), e.Code)
	switch {
	case a.response != nil:
		if e.Status != 0 && a.response.Status != e.Status {
			out = append(out, fmt.Sprintf("status = %d, want %d", a.response.Status, e.Status))
		}
		if !bytes.Contains(a.response.Body, []byte(e.Contains)) {
			out = append(out, fmt.Sprintf("the body does not contain %q", e.Contains))
		}
		return out
	case a.err != nil:
		return out
	case a.step.Done != nil:
		same("subject", a.step.Done.Identity.Subject, e.Subject)
	case a.step.Changed != nil:
		same("subject", a.step.Changed.Subject, e.Subject)
	case a.step.Mail != nil:
		same("template", a.step.Mail.Template, e.Template)
	case !strings.HasPrefix(a.url(), e.URL):
		out = append(out, fmt.Sprintf("url = %q, want it to begin with %q", a.url(), e.URL))
	}
	if err := contract.Step(flow.Kind, a.step); err != nil {
		out = append(out, fmt.Sprintf("the gateway would refuse this step: %v", err))
	}
	return out
}

func (a answer) code() string {
	if e, ok := errors.AsType[*sdk.Error](a.err); ok {
		return e.Code
	}
	if a.step.Denied != nil {
		return a.step.Denied.Code
	}
	return ""
}

func (a answer) url() string {
	switch {
	case a.step.Redirect != nil:
		return a.step.Redirect.URL
	case a.step.Post != nil:
		return a.step.Post.URL
	}
	return ""
}

// String says what the answer is, for a failure.
func (a answer) String() string {
	switch {
	case a.err != nil:
		return fmt.Sprintf("the error %v", a.err)
	case a.step.Denied != nil:
		return "denied with code " + a.step.Denied.Code
	case a.kind() == "":
		return "no step"
	}
	return a.kind()
}
