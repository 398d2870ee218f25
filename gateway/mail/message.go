// Package mail owns outgoing mail: the templates, the queue in the database, and the
// sender. A mail is queued in the transaction that caused it and sent afterwards, so that
// a dead mail server loses nothing and delays no request.
package mail

import (
	"context"
	"time"
)

// Message is a mail before it is queued.
type Message struct {
	To       string            // one bare address: no name, no list
	Template string            // "verify", "reset", "magic_link", "account_exists", "password_changed"
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
}
