package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/materi/shield/gateway/mail"
)

// ClaimMail returns up to n mails that are due, oldest first, and hides them from everybody
// until until. Several gateways that claim at once get different mails.
func (s *Store) ClaimMail(ctx context.Context, now, until time.Time, n int) ([]mail.Queued, error) {
	var claimed []mail.Queued
	err := s.tx(ctx, "claim mail", func(ctx context.Context, c Conn) error {
		claimed = nil
		return c.Query(ctx, `WITH due AS (
				SELECT id FROM shield_mail WHERE due_at <= $1 ORDER BY due_at, id LIMIT $3`+s.dialect.SkipLocked+`
			)
			UPDATE shield_mail SET due_at = $2 WHERE id IN (SELECT id FROM due)
			RETURNING id, sealed, attempts, created_at, due_at`, []any{now, until, n}, func(r Row) error {
			var m mail.Queued
			err := r.Scan(&m.ID, &m.Sealed, &m.Attempts, &m.CreatedAt, &m.DueAt)
			claimed = append(claimed, m)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(claimed, func(a, b mail.Queued) int { return strings.Compare(a.ID, b.ID) }) // ids are in order of time
	return claimed, nil
}

// DeferMail counts a failed try and makes the mail due again at due.
func (s *Store) DeferMail(ctx context.Context, id string, due time.Time) error {
	if !isID(id) {
		return nil
	}
	_, err := s.exec(ctx, "defer mail", `UPDATE shield_mail SET attempts = attempts + 1, due_at = $2 WHERE id = $1`, id, due)
	return err
}

// DropMail removes a mail that was sent or given up.
func (s *Store) DropMail(ctx context.Context, id string) error {
	if !isID(id) {
		return nil
	}
	_, err := s.exec(ctx, "drop mail", `DELETE FROM shield_mail WHERE id = $1`, id)
	return err
}

// CountMail returns how many mails wait, claimed ones included.
func (s *Store) CountMail(ctx context.Context) (int64, error) {
	var n int64
	err := s.one(ctx, "count mails", nil, `SELECT count(*) FROM shield_mail`, nil, &n)
	return n, err
}

// OldestMail returns when the mail was made that waits longest, claimed ones included, and
// the zero time if none waits.
func (s *Store) OldestMail(ctx context.Context) (time.Time, error) {
	var at time.Time
	err := s.one(ctx, "find the oldest mail", nil, `SELECT min(created_at) FROM shield_mail`, nil, &at)
	return at, err
}

func insertMail(ctx context.Context, c Conn, m mail.Queued) error {
	_, err := c.Exec(ctx, `INSERT INTO shield_mail (id, sealed, attempts, created_at, due_at) VALUES ($1, $2, $3, $4, $5)`,
		m.ID, bytes(m.Sealed), m.Attempts, m.CreatedAt, m.DueAt)
	return err
}
