package languages_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/gateway/plugin/wasm"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// status returns what shield_call did.
func (m *mirror) status(method wire.Method, in []byte) (wire.Status, error) {
	_, err := m.module.Call(m.t.Context(), method, in, m)
	if err == nil {
		return wire.StatusOK, nil
	}
	if errors.Is(err, sandbox.ErrUnknownMethod) {
		return wire.StatusUnknownMethod, nil
	}
	if errors.Is(err, wasm.ErrProtocol) && strings.HasSuffix(err.Error(), fmt.Sprintf("returned status %d", wire.StatusMalformed)) {
		return wire.StatusMalformed, nil
	}
	return 0, err
}

// mutations returns messages that were broken in ways that a sender or a line could break
// them: cut anywhere, bytes changed, doubled or left out.
func mutations(r *rand.Rand, message []byte, n int) [][]byte {
	var out [][]byte
	for i := range message {
		out = append(out, message[:i])
	}
	for range n {
		b := bytes.Clone(message)
		for range 1 + r.IntN(3) {
			i := r.IntN(len(b))
			switch r.IntN(4) {
			case 0:
				b[i] = byte(r.Uint32())
			case 1:
				b[i] ^= 1 << r.IntN(8)
			case 2:
				b = append(b[:i:i], b[min(i+1+r.IntN(4), len(b)):]...)
			case 3:
				b = append(append(b[:i:i], b[max(0, i-r.IntN(8)):i]...), b[i:]...)
			}
			if len(b) == 0 {
				break
			}
		}
		out = append(out, b)
	}
	return out
}

// odd are messages that each parser of protobuf has to think of.
func odd() [][]byte {
	deep := []byte{}
	for range 10_000 {
		deep = append(append([]byte{0x0a}, varint(len(deep))...), deep...)
		if len(deep) > 1<<19 {
			break
		}
	}
	entry := func(i int) string {
		k := strconv.Itoa(i)
		return "\x0a" + string(rune(len(k)+2)) + "\x0a" + string(rune(len(k))) + k
	}
	var most, tooMany strings.Builder
	for i := range wire.MaxRepeated + 1 {
		if i < wire.MaxRepeated {
			most.WriteString(entry(i))
		}
		tooMany.WriteString(entry(i))
	}
	request := func(body string) []byte { return append(append([]byte{0x12}, varint(len(body))...), body...) }
	return [][]byte{
		deep,
		request(most.String()), request(tooMany.String()), request(strings.Repeat(entry(7), 5000)),
		request("\x12\x02\xc3\x28"), request("\x12\x03\xed\xa0\x80"), request("\x12\x04\xf4\x90\x80\x80"), // no UTF-8
		request("\x12\x04\xf0\x9f\x98\x80"),
		request("\x30\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), request("\x30\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"),
		[]byte("\x00"), []byte("\x07"), []byte("\x0b\x0c"), []byte("\x0e\x00"), // field 0, no such types, a group
		[]byte("\x98\x06\x07\xa2\x06\x05later\xad\x06\x01\x02\x03\x04\xb1\x06\x01\x02\x03\x04\x05\x06\x07\x08"), // later fields
		[]byte("\xf8\xff\xff\xff\x0f\x01"), []byte("\xf8\xff\xff\xff\x1f\x01"), // the largest field number, and one beyond
		[]byte("\x0a\xff\xff\xff\xff\x0f"), []byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), // lengths
		bytes.Repeat([]byte{0x98, 0x06, 0x01}, wire.MaxMessage/3),
		bytes.Repeat([]byte{0xff}, wire.MaxMessage),
		make([]byte, wire.MaxMessage),
	}
}

func varint(n int) []byte {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// readsAlike demands that the module takes a message if the gateway's codec does.
func (m *mirror) readsAlike(method wire.Method, in []byte) {
	m.t.Helper()
	var err error
	switch method {
	case wire.Configure:
		_, err = wire.DecodeSettings(in)
	case wire.Serve:
		_, err = wire.DecodeServe(in)
	default:
		_, err = wire.DecodeCall(in)
	}
	want := wire.StatusOK
	if err != nil {
		want = wire.StatusMalformed
	}
	if got, err := m.status(method, in); got != want || err != nil {
		m.t.Errorf("%v(%.80x): status %d, %v, want %d", method, in, got, err, want)
	}
}

func TestMessagesAreReadAsTheGatewayReadsThem(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, in := range odd() {
			m.readsAlike(wire.Begin, in)
			if len(in) > 1<<16 {
				continue // one method reads them as the others do, and it takes a while
			}
			for _, method := range []wire.Method{wire.Configure, wire.Continue, wire.Serve} {
				m.readsAlike(method, in)
			}
		}
		for _, name := range []string{"1/CallRequest", "2/CallRequest.headers"} {
			for _, in := range mutations(r, golden(t, name), 300) {
				m.readsAlike(wire.Begin, in)
			}
		}
		for _, in := range mutations(r, golden(t, "1/ServeRequest"), 100) {
			m.readsAlike(wire.Serve, in)
		}
		for _, in := range mutations(r, golden(t, "1/ConfigureRequest"), 100) {
			m.readsAlike(wire.Configure, in)
		}
	})
}

func TestUnknownMethodsAreSaidToBe(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		for _, method := range []wire.Method{0, 6, 7, 1 << 31, 1<<32 - 1} {
			if got, err := m.status(method, nil); got != wire.StatusUnknownMethod || err != nil {
				t.Errorf("method %d: status %d, %v", method, got, err)
			}
		}
	})
}

// decoders are the gateway's own readers of the replies.
var decoders = map[string]func([]byte) error{
	"kv.get":          func(b []byte) error { _, _, err := wire.DecodeEntry(b); return err },
	"password.hash":   func(b []byte) error { _, err := wire.DecodeHash(b); return err },
	"password.verify": func(b []byte) error { _, _, err := wire.DecodeVerdict(b); return err },
	"password.common": func(b []byte) error { _, err := wire.DecodeCommon(b); return err },
	"http.fetch":      func(b []byte) error { _, err := wire.DecodeFetched(b); return err },
	"jwt.verify":      func(b []byte) error { _, err := wire.DecodeResult(b); return err },
	"secret.get":      func(b []byte) error { _, _, err := wire.DecodeSecret(b); return err },
	"secret.mac":      func(b []byte) error { _, err := wire.DecodeResult(b); return err },
}

// A reply that cannot be read is a host that failed: nothing is granted, verified or found.
func TestRepliesOfTheHostAreReadAsTheGatewayReadsThem(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, q := range questions {
			decode, ok := decoders[q.call]
			if !ok {
				continue
			}
			for _, reply := range mutations(r, golden(t, q.reply), 40) {
				m.answer = func(wire.Function) ([]byte, error) { return reply, nil }
				out, err := m.module.Call(t.Context(), wire.Begin, host(q.call), m)
				if err != nil {
					t.Fatalf("%s with the reply %x: %v", q.call, reply, err)
				}
				answer, err := wire.DecodeReply(out)
				if err != nil {
					continue // a text of the reply that is no UTF-8 was handed on
				}
				err = decode(reply)
				var refused *sdk.Refused
				failed := err != nil && !errors.As(err, &refused)
				if got := answer.Step.Done.Identity.Subject; (got == "error -5") != failed {
					t.Errorf("%s with the reply %x: the provider got %q, the gateway reads %v", q.call, reply, got, err)
				}
			}
		}
	})
}

func host(call string) []byte {
	return wire.EncodeCall(wire.Call{
		Flow: sdk.Flow{ID: "f", Form: "host"}, Request: sdk.Request{Fields: map[string]string{"call": call}},
	})
}

func TestJSONIsReadAsTheLanguageReadsIt(t *testing.T) {
	texts := []string{
		"", " ", "null", "true", "false", "nul", "truefalse", "tru", "{}", "[]", "{", "[", "}", "[1,]", "{,}", `{"a":1,}`,
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a" : [ 1 , { } ] , "b" : { "c" : "d" } }`, "{} {}", "[] x", "\ufeff{}",
		"0", "-0", "01", "-", "1.", ".5", "1.5e+10", "1e", "1E-2", "+1", "9223372036854775807", "9223372036854775808",
		"-9223372036854775808", "-9223372036854775809", "99999999999999999999999", "0x10", "NaN", "1 2",
		`"\"\\\/\b\f\n\r\t"`, `"\u00e4\ud83d\ude00"`, `"\ud83d"`, `"\ude00"`, `"\ud83dx"`, `"\ud83d\u0041"`, `"\ud83d\ud83d\ude00"`,
		`"\u12g4"`, `"\u00@0"`, "\"\\u00`0\"", `"\u00G0"`, `"\u00:0"`, `"\u00/0"`, `"\u12"`, `"\x"`, `"\`, `"`, `"a`, "\"a\nb\"", "\"\x00\"", "\"\x1f\"", "\"\x7f\"", `"\u0000"`, `"ä😀"`, `'a'`, `{a:1}`, `{1:1}`,
		strings.Repeat("[", 33) + strings.Repeat("]", 33), strings.Repeat("[", 34) + strings.Repeat("]", 34),
		strings.Repeat("[", 33) + "1" + strings.Repeat("]", 33), strings.Repeat(`{"a":`, 1<<16), strings.Repeat("[", 1<<18),
		"[" + strings.Repeat("1,", 5000) + "1]", `"` + strings.Repeat(`\u00e4`, 5000) + `"`,
	}
	r := rand.New(rand.NewPCG(5, 6))
	for _, text := range []string{`{"a":[1,-2.5e3,true,null,"\ud83d\ude00\n"],"b":{"c":false}}`, `["\u00e4", {"x": 0}, []]`} {
		for _, m := range mutations(r, []byte(text), 150) {
			if utf8.Valid(m) {
				texts = append(texts, string(m))
			}
		}
	}
	each(t, func(t *testing.T, m *mirror) {
		for _, text := range texts {
			if got, want := m.subject(m.begin("json", "text", text)), dumped(text); got != want {
				t.Errorf("%.80q is read as %.120q, want %.120q", text, got, want)
			}
		}
	})
}

// dumped returns what the mirror must say of a JSON text, from encoding/json.
func dumped(text string) string {
	if !json.Valid([]byte(text)) {
		return "invalid"
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	out, ok := dumpValue(d, 0)
	if !ok {
		return "invalid"
	}
	if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
		out += strconv.FormatInt(n, 10)
	}
	return out
}

func dumpValue(d *json.Decoder, depth int) (string, bool) {
	token, err := d.Token()
	if err != nil || depth > 32 {
		return "", err == io.EOF
	}
	switch v := token.(type) {
	case nil:
		return "n ", true
	case bool:
		return strconv.FormatBool(v)[:1] + " ", true
	case json.Number:
		return "#" + v.String() + " ", true
	case string:
		return fmt.Sprintf("\"%x ", v), true
	}
	out := token.(json.Delim).String()
	seen := make(map[string]bool)
	for d.More() {
		if out[0] == '{' {
			name, _ := d.Token()
			if seen[name.(string)] {
				return "", false
			}
			seen[name.(string)] = true
			out += fmt.Sprintf("%x:", name)
		}
		inner, ok := dumpValue(d, depth+1)
		if !ok {
			return "", false
		}
		out += inner
	}
	_, err = d.Token()
	return out + "] ", err == nil
}

// FuzzMessagesAreReadAlike looks for bytes that one of the languages reads otherwise than
// the gateway, or traps at.
func FuzzMessagesAreReadAlike(f *testing.F) {
	for _, in := range odd()[1:9] {
		f.Add(uint8(wire.Begin), in)
	}
	f.Add(uint8(wire.Begin), []byte("\x0a\x03\x0a\x01f\x12\x08\x0a\x06\x0a\x01a\x12\x01b"))
	f.Add(uint8(wire.Configure), []byte("\x0a\x02{}"))
	f.Add(uint8(wire.Serve), []byte("\x0a\x03\x12\x01m"))
	modules := make(map[string]*wasm.Module)
	for _, l := range languages {
		modules[l.name] = load(f, l.name, l.compile)
	}
	f.Fuzz(func(t *testing.T, method uint8, in []byte) {
		for _, l := range languages {
			m := &mirror{t: t, module: modules[l.name], answer: func(wire.Function) ([]byte, error) { return in, nil }}
			m.readsAlike(wire.Configure+wire.Method(method%4), in)
		}
	})
}
