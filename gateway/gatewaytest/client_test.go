package gatewaytest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// client speaks to one gateway.
type client struct {
	base    string
	http    *http.Client
	secrets *secrets
}

func newClient(t testing.TB, base string, s *secrets) *client {
	transport := &http.Transport{MaxIdleConnsPerHost: 128, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{base, &http.Client{
		Transport: transport, Timeout: 60 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, s}
}

// answer is what came back.
type answer struct {
	what   string // for failure messages
	status int
	header http.Header
	body   []byte
}

// option changes a request before it is sent.
type option func(*http.Request)

func bearer(token string) option {
	return func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+token) }
}

func field(name, value string) option {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

func cookie(name, value string) option {
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: name, Value: value}) }
}

type object = map[string]any

// try sends a request. body is nil, a string, or something that becomes JSON.
func (c *client) try(method, path string, body any, options ...option) (answer, error) {
	var reader io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return answer{}, err
		}
		reader, contentType = bytes.NewReader(data), "application/json"
		c.noteSent(b)
	}
	r, err := http.NewRequest(method, c.base+path, reader)
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for _, o := range options {
		o(r)
	}
	for _, v := range r.Header.Values("Authorization") {
		c.secrets.add("access token", strings.TrimPrefix(v, "Bearer "))
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{method + " " + route(path), resp.StatusCode, resp.Header, data}
	c.noteGot(a)
	return a, nil
}

// route shortens a path to what may be shown.
func route(path string) string {
	if len(path) > 40 {
		return path[:40] + "..."
	}
	return path
}

func (c *client) noteSent(body any) {
	members, ok := body.(object)
	if !ok {
		return
	}
	for name, value := range members {
		if text, ok := value.(string); ok && name != "name" {
			c.secrets.add(name+" of a request", text)
		}
	}
}

func (c *client) noteGot(a answer) {
	var body struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if json.Unmarshal(a.body, &body) == nil {
		c.secrets.add("access token", body.Access)
		c.secrets.add("refresh token", body.Refresh)
	}
}

func (c *client) do(t testing.TB, method, path string, body any, options ...option) answer {
	t.Helper()
	a, err := c.try(method, path, body, options...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, route(path), err)
	}
	return a
}

func (c *client) get(t testing.TB, path string, options ...option) answer {
	t.Helper()
	return c.do(t, http.MethodGet, path, nil, options...)
}

func (c *client) post(t testing.TB, path string, body any, options ...option) answer {
	t.Helper()
	return c.do(t, http.MethodPost, path, body, options...)
}

// json returns the body as an object.
func (a answer) json(t testing.TB) object {
	t.Helper()
	var o object
	if err := json.Unmarshal(a.body, &o); err != nil {
		t.Fatalf("%s: %d with a body that is no JSON object: %.200q", a.what, a.status, a.body)
	}
	return o
}

func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%s: %d: %v: %.200q", a.what, a.status, err, a.body)
	}
}

// ok fails unless the answer has the status.
func (a answer) ok(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s = %d %.300s, want %d", a.what, a.status, a.body, status)
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Errorf("%s: no X-Request-ID", a.what)
	}
	return a
}

// refused fails unless the answer is an error with this status and code, in the envelope.
func (a answer) refused(t testing.TB, status int, code string) answer {
	t.Helper()
	var envelope struct {
		Error struct {
			Code      string
			Message   string
			RequestID string `json:"request_id"`
			Timestamp time.Time
		}
	}
	a.into(t, &envelope)
	e := envelope.Error
	if a.status != status || e.Code != code {
		t.Fatalf("%s = %d %s, want %d %s", a.what, a.status, e.Code, status, code)
	}
	if e.Message == "" || e.Timestamp.IsZero() || e.RequestID == "" || e.RequestID != a.header.Get("X-Request-Id") {
		t.Errorf("%s: incomplete error: %s (X-Request-ID %q)", a.what, a.body, a.header.Get("X-Request-Id"))
	}
	challenged := strings.HasPrefix(a.header.Get("Www-Authenticate"), "Bearer")
	if challenged != (status == http.StatusUnauthorized || code == "INSUFFICIENT_SCOPE") {
		t.Errorf("%s: %d with WWW-Authenticate %q", a.what, status, a.header.Get("Www-Authenticate"))
	}
	return a
}

// raw sends bytes as they are and returns the first answer. After it the connection must be
// closed, without another answer.
func (g *gate) raw(t testing.TB, request string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(conn, request) // the gateway may hang up before it has all
	}()
	defer func() { _ = conn.Close(); <-sent }()
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the answer's body: %v", err)
	}
	if more, err := reader.Peek(1); len(more) > 0 {
		t.Errorf("the connection goes on with %q", more)
	} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Errorf("the connection was not closed")
	}
	line, _, _ := strings.Cut(request, "\r\n")
	return answer{fmt.Sprintf("%.60q", line), resp.StatusCode, resp.Header, body}
}
