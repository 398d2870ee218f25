package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/audit"
)

// AuditOf returns what was written down of a user, oldest first.
func (s *Store) AuditOf(ctx context.Context, userID string) ([]audit.Event, error) {
	if !isID(userID) {
		return nil, nil
	}
	var all []audit.Event
	err := s.query(ctx, "read audit", `SELECT at, action, COALESCE(CAST(user_id AS text), ''), COALESCE(CAST(actor_id AS text), ''), details
		FROM shield_audit WHERE user_id = $1 ORDER BY at, id`, []any{userID}, func() { all = nil }, func(r Row) error {
		var e audit.Event
		var details string
		if err := r.Scan(&e.At, (*string)(&e.Action), &e.UserID, &e.ActorID, &details); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(details), &e.Details); err != nil {
			return fmt.Errorf("details of an event: %w", err)
		}
		all = append(all, e)
		return nil
	})
	return all, err
}

func insertEvent(ctx context.Context, c Conn, e audit.Event) error {
	details, err := json.Marshal(e.Details)
	if err != nil {
		return fmt.Errorf("encode details: %w", err)
	}
	_, err = c.Exec(ctx, `INSERT INTO shield_audit (id, at, action, user_id, actor_id, details) VALUES ($1, $2, $3, $4, $5, $6)`,
		account.NewID(), e.At, string(e.Action), null(e.UserID), null(e.ActorID), string(details))
	return err
}
