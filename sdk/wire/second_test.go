package wire

import (
	"context"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// schema compiles provider.proto. What the protobuf library makes of it is the second
// implementation that the codec is held against.
func schema(t testing.TB) protoreflect.FileDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{}}
	files, err := c.Compile(context.Background(), "provider.proto")
	if err != nil {
		t.Fatalf("provider.proto: %v", err)
	}
	return files[0]
}

// second returns an empty message of the protobuf library.
func (m message) second(t testing.TB, file protoreflect.FileDescriptor) proto.Message {
	t.Helper()
	name, _, _ := strings.Cut(m.name, ".")
	d := file.Messages().ByName(protoreflect.Name(name))
	if d == nil {
		t.Fatalf("provider.proto has no message %s", name)
	}
	return dynamicpb.NewMessage(d)
}

func TestSecondImplementationReadsAndWritesTheSame(t *testing.T) {
	file := schema(t)
	for _, m := range messages() {
		other := m.second(t, file)
		ours := m.encode(m.sample)
		if err := proto.Unmarshal(ours, other); err != nil {
			t.Errorf("%s: the library cannot read it: %v", m.name, err)
			continue
		}
		if n := unknown(other.ProtoReflect()); n > 0 {
			t.Errorf("%s: the library does not know %d bytes of it", m.name, n)
		}
		theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.decode(theirs)
		if err != nil {
			t.Errorf("%s: cannot read the library's: %v", m.name, err)
		}
		if diff := cmp.Diff(m.sample, got, export); diff != "" {
			t.Errorf("%s by the library (-want +got):\n%s", m.name, diff)
		}
	}
}

// unknown counts the bytes of unknown fields, at any depth.
func unknown(m protoreflect.Message) int {
	n := len(m.GetUnknown())
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				n += unknown(v.List().Get(i).Message())
			}
		default:
			n += unknown(v.Message())
		}
		return true
	})
	return n
}

// TestSamplesUseEveryField keeps the tests above honest: a field that no sample sets is a
// field that nothing compares.
func TestSamplesUseEveryField(t *testing.T) {
	file := schema(t)
	seen := make(map[protoreflect.FullName]bool)
	for _, m := range messages() {
		other := m.second(t, file)
		if err := proto.Unmarshal(m.encode(m.sample), other); err != nil {
			t.Fatal(err)
		}
		note(other.ProtoReflect(), seen)
	}
	seen["shield.provider.v1.CommonRequest.password"] = true // has the form of HashRequest
	for i := range file.Messages().Len() {
		d := file.Messages().Get(i)
		for j := range d.Fields().Len() {
			if name := d.Fields().Get(j).FullName(); !seen[name] {
				t.Errorf("no sample sets %s", name)
			}
		}
	}
}

func note(m protoreflect.Message, seen map[protoreflect.FullName]bool) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		seen[f.FullName()] = true
		switch {
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				note(v.List().Get(i).Message(), seen)
			}
		default:
			note(v.Message(), seen)
		}
		return true
	})
}

// FuzzDecode holds every decoder to three things: it does not panic, what it accepts the
// library accepts and understands alike, and encoding what it read is stable.
func FuzzDecode(f *testing.F) {
	file := schema(f)
	all := messages()
	for i, m := range all {
		f.Add(uint8(i), m.encode(m.sample))
	}
	f.Add(uint8(3), []byte("\x12\x0a\x0a\x03\x12\x01a\x0a\x03\x12\x01b"))
	f.Add(uint8(4), []byte("\x12\x02\x32\x00\x12\x04\x42\x02\x0a\x00"))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		m := all[int(which)%len(all)]
		v, err := m.decode(b)
		if err != nil {
			return
		}
		again := m.encode(v)
		w, err := m.decode(again)
		if err != nil {
			t.Fatalf("%s: cannot read what was written: %v", m.name, err)
		}
		if diff := cmp.Diff(v, w, export); diff != "" {
			t.Fatalf("%s changes on the way (-first +second):\n%s", m.name, diff)
		}
		theirs, ours := m.second(t, file), m.second(t, file)
		if err := proto.Unmarshal(b, theirs); err != nil {
			t.Fatalf("%s: the library refuses it: %v", m.name, err)
		}
		if err := proto.Unmarshal(again, ours); err != nil {
			t.Fatalf("%s: the library refuses what was written: %v", m.name, err)
		}
		forget(theirs.ProtoReflect())
		if !alike(theirs, ours) {
			t.Fatalf("%s: the library reads\n%v\nwe wrote\n%v", m.name, theirs, ours)
		}
	})
}

// forget drops unknown fields, which we do not keep.
func forget(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				forget(v.List().Get(i).Message())
			}
		default:
			forget(v.Message())
		}
		return true
	})
}

// alike is proto.Equal, except that an embedded message which holds nothing counts as
// absent where the Go form cannot tell: all but the choices.
func alike(a, b proto.Message) bool {
	prune(a.ProtoReflect())
	prune(b.ProtoReflect())
	return proto.Equal(a, b)
}

func prune(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() == nil || f.IsMap() {
			return true
		}
		if f.IsList() {
			for i := range v.List().Len() {
				prune(v.List().Get(i).Message())
			}
			return true
		}
		prune(v.Message())
		optional := f.ContainingOneof() != nil || f.FullName() == "shield.provider.v1.Mail.identity"
		if !optional && proto.Size(v.Message().Interface()) == 0 {
			m.Clear(f)
		}
		return true
	})
}
