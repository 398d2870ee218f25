package email

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/materi/shield/sdk"
)

// Keys. "addr/" and the canonical address leads to the record, "sub/" and the subject to
// the address, so that a person stays the same when the address changes.
const (
	prefixAddress = "addr/"
	prefixSubject = "sub/"
)

var errMalformed = errors.New("email: stored text is malformed")

// record is what is known of an address.
type record struct {
	subject  string // names the person; random, never changes
	verified bool
	// generation counts the passwords. A reset link and a magic link carry the one that
	// they were made at and are dead after it.
	generation int
	// hash is the password's. Of an address that is not verified it grants nothing; it is
	// that of the one registration so far, or empty if there was more than one.
	hash string

	version int64 // of the entry that it came from; 0 is none
}

// load returns the record of an address, or a zero one.
func load(ctx context.Context, host sdk.Host, address string) (record, error) {
	entry, found, err := host.KV().Get(ctx, prefixAddress+address)
	if err != nil {
		return record{}, fmt.Errorf("read record: %w", err)
	}
	if !found {
		return record{}, nil
	}
	part, err := split(entry.Value, 4)
	if err != nil {
		return record{}, err
	}
	generation, err := strconv.Atoi(part[2])
	if err != nil || part[0] == "" || part[1] != stateVerified && part[1] != statePending {
		return record{}, errMalformed
	}
	return record{
		subject:    part[0],
		verified:   part[1] == stateVerified,
		generation: generation,
		hash:       part[3],
		version:    entry.Version,
	}, nil
}

// store writes the record of an address if it is still the one that was loaded.
func (r record) store(ctx context.Context, host sdk.Host, address string) error {
	state := statePending
	if r.verified {
		state = stateVerified
	}
	value := join(r.subject, state, strconv.Itoa(r.generation), r.hash)
	if err := host.KV().CompareAndSet(ctx, prefixAddress+address, r.version, value, 0); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// How a record says whether its address is verified.
const (
	stateVerified = "verified"
	statePending  = "pending"
)

// exists reports whether there is such a record.
func (r record) exists() bool { return r.version != 0 }

// link is what a mailed link is about. The gateway keeps it, encrypted.
type link struct {
	address    string
	subject    string
	generation int
	hash       string // register, verify: the password that becomes valid, or none
	name       string // register
}

func (l link) save() []byte {
	return join(l.address, l.subject, strconv.Itoa(l.generation), l.hash, l.name)
}

func openLink(saved []byte) (link, error) {
	part, err := split(saved, 5)
	if err != nil {
		return link{}, err
	}
	generation, err := strconv.Atoi(part[2])
	if err != nil || part[0] == "" || part[1] == "" {
		return link{}, errMalformed
	}
	return link{address: part[0], subject: part[1], generation: generation, hash: part[3], name: part[4]}, nil
}

// join writes what is stored: the form's version and the parts, a line each. None of the
// parts can hold a line break. It is not JSON, which takes a guest most of a millisecond
// to read.
func join(part ...string) []byte { return []byte("1\n" + strings.Join(part, "\n")) }

// split reads what join wrote.
func split(b []byte, n int) ([]string, error) {
	part := strings.Split(string(b), "\n")
	if len(part) != n+1 || part[0] != "1" {
		return nil, errMalformed
	}
	return part[1:], nil
}

// withRecord answers a form that asks for an address alone, by what is known of it.
func withRecord(ctx context.Context, host sdk.Host, req sdk.Request, answer func(address string, r record) sdk.Step) (sdk.Step, error) {
	if faults := missing(req, fieldEmail); faults != nil {
		return deny(sdk.CodeMissingField, faults...), nil
	}
	address, no := addressOf(req)
	if no != nil {
		return *no, nil
	}
	r, err := load(ctx, host, address)
	if err != nil {
		return sdk.Step{}, err
	}
	return answer(address, r), nil
}
