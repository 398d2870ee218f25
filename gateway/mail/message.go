// Package mail owns outgoing mail: the templates, the queue in the database, and the
// sender. It decides neither who gets mail nor what a link does (package login). A mail is
// queued in the transaction that caused it and sent afterwards, so that a dead mail server
// loses nothing and delays no request.
package mail

import (
	"context"
	"errors"
	"fmt"
	netmail "net/mail"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// The templates. The first three carry a one-time link.
const (
	TemplateVerify          = "verify"
	TemplateReset           = "reset"
	TemplateMagicLink       = "magic_link"
	TemplateAccountExists   = "account_exists"
	TemplatePasswordChanged = "password_changed"
)

// ErrMessage says that a [Message] cannot become a mail.
var ErrMessage = errors.New("message refused")

// Message is a mail before it is queued.
type Message struct {
	To       string            // one bare address: no name, no list
	Template string            // one of the Template constants
	Vars     map[string]string // "name": how the person is called, if that is known
	Link     string            // the one-time link, or the bare token where no page is configured
	Expires  time.Time         // when the link is dead and the mail no longer worth sending. Zero: never
}

// Queued is a mail that waits. Sealed holds its content encrypted, since a mail carries a
// one-time link that the database must not tell.
type Queued struct {
	ID        string // UUIDv7, also the Message-ID
	Sealed    []byte
	Attempts  int
	CreatedAt time.Time
	DueAt     time.Time
}

// Store keeps the queue. A mail is put in by the commit that caused it.
type Store interface {
	// ClaimMail returns up to n mails that are due and hides them from everybody until
	// until, so that several gateways can share a queue.
	ClaimMail(ctx context.Context, now, until time.Time, n int) ([]Queued, error)
	// DeferMail counts a failed try and makes the mail due again at due.
	DeferMail(ctx context.Context, id string, due time.Time) error
	// DropMail removes a mail that was sent or given up.
	DropMail(ctx context.Context, id string) error
	// CountMail returns how many mails wait, claimed ones included.
	CountMail(ctx context.Context) (int64, error)
	// OldestMail returns when the mail was made that waits longest, and the zero time if none
	// waits.
	OldestMail(ctx context.Context) (time.Time, error)
}

// Bounds of a message: those of RFC 5321 for an address, and for a link what still fits on
// one line of a mail (RFC 5322 allows 998 bytes), so that nobody has to join it again.
const (
	maxAddress = 254
	maxLink    = 900
)

var code = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)

// check returns an error that wraps ErrMessage, and never tells the address or the link.
func (m Message) check() error {
	if !isAddress(m.To) {
		return fmt.Errorf("%w: the recipient is not one bare address", ErrMessage)
	}
	switch m.Template {
	case TemplateVerify, TemplateReset, TemplateMagicLink:
		if len(m.Link) > maxLink || !isURL(m.Link) && !code.MatchString(m.Link) {
			return fmt.Errorf("%w: %s needs a link or a token of at most %d bytes", ErrMessage, m.Template, maxLink)
		}
	case TemplateAccountExists, TemplatePasswordChanged:
		if m.Link != "" {
			return fmt.Errorf("%w: %s has no link", ErrMessage, m.Template)
		}
	default:
		return fmt.Errorf("%w: no template %.32q", ErrMessage, m.Template)
	}
	return nil
}

// isAddress reports whether s is one address and nothing else: no display name, no comment,
// no list, no quoted local part and nothing that could begin a line of its own.
func isAddress(s string) bool {
	if len(s) > maxAddress || strings.ContainsAny(s, `"<>(),;:\`) {
		return false
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }) {
		return false
	}
	a, err := netmail.ParseAddress(s)
	return err == nil && a.Address == s && a.Name == ""
}

func isURL(s string) bool {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}
