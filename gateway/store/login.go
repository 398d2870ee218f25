package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
)

// Flow returns the waiting flow with this hash, or [login.ErrSpent].
func (s *Store) Flow(ctx context.Context, hash []byte, now time.Time) (login.Flow, error) {
	f := login.Flow{Hash: slices.Clone(hash)}
	err := s.one(ctx, "read flow", login.ErrSpent,
		`SELECT id, provider, kind, form, COALESCE(CAST(user_id AS text), ''), sealed, created_at, expires_at
		FROM shield_flows WHERE hash = $1 AND expires_at > $2`, []any{bytes(hash), now},
		&f.ID, &f.Provider, (*string)(&f.Kind), &f.Form, &f.UserID, &f.Sealed, &f.CreatedAt, &f.ExpiresAt)
	if err != nil {
		return login.Flow{}, err
	}
	return f, nil
}

// Commit applies c, all of it or nothing, and returns the ids of the sessions that it ended.
// Beyond what [login.Commit] says, a session is only made for a user who is active at the
// commit and an identity only for one who is not deleted, else [login.ErrChanged].
//
// Every commit takes its locks in one order, so that two of them never wait for each other:
// the users it names, by id; the flow it spends and those it ends; entries by key; then
// identities and new rows, by table; the revocations last, since they are read by the time
// they were made.
func (s *Store) Commit(ctx context.Context, c login.Commit) ([]string, error) {
	if err := check(c); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	var revoked []string
	err := s.tx(ctx, "commit", func(ctx context.Context, conn Conn) (err error) {
		revoked, err = s.commit(ctx, conn, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return revoked, nil
}

func (s *Store) commit(ctx context.Context, conn Conn, c login.Commit) ([]string, error) {
	status, err := s.lockUsers(ctx, conn, usersOf(c)...)
	if err != nil {
		return nil, err
	}
	if err := spendFlows(ctx, conn, c); err != nil {
		return nil, err
	}
	if err := s.write(ctx, conn, c); err != nil {
		return nil, err
	}
	if err := s.commitUser(ctx, conn, c, status); err != nil {
		return nil, err
	}
	if c.NewFlow != nil {
		if err := s.insertFlow(ctx, conn, *c.NewFlow); err != nil {
			return nil, err
		}
	}
	if c.NewSession != nil {
		if status[c.NewSession.UserID] != account.Active {
			return nil, fmt.Errorf("new session: user is not active: %w", login.ErrChanged)
		}
		err := insertSession(ctx, conn, *c.NewSession)
		if err != nil && s.db.Classify(err) == Orphan {
			return nil, fmt.Errorf("new session: its identity is gone: %w", login.ErrChanged)
		}
		if err != nil {
			return nil, fmt.Errorf("new session: %w", err)
		}
	}
	if c.Mail != nil {
		if err := insertMail(ctx, conn, *c.Mail); err != nil {
			return nil, fmt.Errorf("new mail: %w", err)
		}
	}
	for _, e := range c.Audit {
		if err := insertEvent(ctx, conn, e); err != nil {
			return nil, fmt.Errorf("new event: %w", err)
		}
	}
	if r := c.RevokeSessions; r != nil && r.IdentityID != "" {
		return s.revokeSessionsBy(ctx, conn, *r, c.Now)
	} else if r != nil {
		return s.revokeSessionsOf(ctx, conn, r.UserID, r.Except, r.Reason, c.Now, r.TokensDead)
	}
	return nil, nil
}

// spendFlows removes the flow that c spends and those that it ends.
func spendFlows(ctx context.Context, conn Conn, c login.Commit) error {
	if c.SpendFlow != "" {
		n, err := conn.Exec(ctx, `DELETE FROM shield_flows WHERE id = $1 AND expires_at > $2`, c.SpendFlow, c.Now)
		if err != nil {
			return fmt.Errorf("spend flow: %w", err)
		}
		if n == 0 {
			return login.ErrSpent
		}
	}
	if c.EndFlows != nil {
		_, err := conn.Exec(ctx, `DELETE FROM shield_flows WHERE user_id = $1 AND (kind = $2 OR $2 = '')`, c.EndFlows.UserID, string(c.EndFlows.Kind))
		if err != nil {
			return fmt.Errorf("end flows: %w", err)
		}
	}
	return nil
}

// commitUser makes and changes users and identities, and keeps status up to date.
func (s *Store) commitUser(ctx context.Context, conn Conn, c login.Commit, status map[string]account.Status) error {
	if u := c.NewUser; u != nil {
		if err := insertUser(ctx, conn, *u); err != nil {
			return s.taken("new user", err)
		}
		status[u.ID] = u.Status
	}
	if u := c.UpdateUser; u != nil {
		n, err := conn.Exec(ctx, `UPDATE shield_users SET status = $3, verified = $4,
				name = COALESCE(CAST($5 AS text), name), verified_by = COALESCE(CAST($7 AS text), verified_by),
				updated_at = CASE WHEN status = $3 AND verified = $4 AND COALESCE(CAST($5 AS text), name) = name THEN updated_at ELSE $6 END
			WHERE id = $1 AND status = $2`, u.ID, string(u.Expect), string(u.Status), u.Verified, u.Name, c.Now, u.VerifiedBy)
		if err != nil {
			return s.taken("update user", err)
		}
		if n == 0 {
			return fmt.Errorf("update user: %w", login.ErrChanged)
		}
		status[u.ID] = u.Status
	}
	if c.Unlink != nil {
		if err := unlink(ctx, conn, *c.Unlink); err != nil {
			return err
		}
	}
	var tokens []byte
	if c.KeepTokens != nil {
		tokens = *c.KeepTokens
	}
	if i := c.NewIdentity; i != nil {
		if at := status[i.UserID]; at == "" || at == account.Deleted {
			return fmt.Errorf("new identity: user is gone: %w", login.ErrChanged)
		}
		if err := insertIdentity(ctx, conn, *i, tokens); err != nil {
			return s.taken("new identity", err)
		}
	}
	if c.TouchIdentity != "" {
		n, err := conn.Exec(ctx, `UPDATE shield_identities SET last_used_at = $2, tokens = CASE WHEN $3 THEN $4 ELSE tokens END
			WHERE id = $1`, c.TouchIdentity, c.Now, c.KeepTokens != nil, tokens)
		if err != nil {
			return fmt.Errorf("touch identity: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("touch identity: it is gone: %w", login.ErrChanged)
		}
	}
	return nil
}

// taken calls a unique constraint that does not hold [account.ErrConflict]. The cause goes
// no further, since its text names the address.
func (s *Store) taken(op string, err error) error {
	if s.db.Classify(err) == Duplicate {
		return fmt.Errorf("%s: %w", op, account.ErrConflict)
	}
	return fmt.Errorf("%s: %w", op, err)
}

func (s *Store) insertFlow(ctx context.Context, conn Conn, f login.Flow) error {
	_, err := conn.Exec(ctx, `INSERT INTO shield_flows (id, hash, provider, kind, form, user_id, sealed, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		f.ID, bytes(f.Hash), f.Provider, string(f.Kind), f.Form, null(f.UserID), bytes(f.Sealed), f.CreatedAt, f.ExpiresAt)
	if err != nil && s.db.Classify(err) == Orphan {
		return fmt.Errorf("new flow: user is gone: %w", login.ErrChanged)
	}
	if err != nil {
		return fmt.Errorf("new flow: %w", err)
	}
	return nil
}

// lockUsers keeps the users named by ids from changing until the transaction ends, and
// returns the status of those that exist.
func (s *Store) lockUsers(ctx context.Context, conn Conn, ids ...string) (map[string]account.Status, error) {
	slices.Sort(ids)
	status := make(map[string]account.Status, len(ids)+1)
	for _, id := range slices.Compact(ids) {
		err := conn.Query(ctx, `SELECT status FROM shield_users WHERE id = $1`+s.dialect.Lock, []any{id}, func(r Row) error {
			var at string
			err := r.Scan(&at)
			status[id] = account.Status(at)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("lock user: %w", err)
		}
	}
	return status, nil
}

// usersOf returns the users that c is about and that are there before it.
func usersOf(c login.Commit) []string {
	var ids []string
	add := func(id string) {
		if id != "" && (c.NewUser == nil || c.NewUser.ID != id) {
			ids = append(ids, id)
		}
	}
	if c.EndFlows != nil {
		add(c.EndFlows.UserID)
	}
	if c.NewFlow != nil {
		add(c.NewFlow.UserID)
	}
	if c.UpdateUser != nil {
		add(c.UpdateUser.ID)
	}
	if c.Unlink != nil {
		add(c.Unlink.UserID)
	}
	if c.NewIdentity != nil {
		add(c.NewIdentity.UserID)
	}
	if c.NewSession != nil {
		add(c.NewSession.UserID)
	}
	if c.RevokeSessions != nil {
		add(c.RevokeSessions.UserID)
	}
	return ids
}

var errID = errors.New("not an id")

// check refuses what no database could keep before a transaction is begun.
func check(c login.Commit) error {
	ids := usersOf(c)
	var text []string
	if c.SpendFlow != "" && !isID(c.SpendFlow) {
		return login.ErrSpent
	}
	if c.TouchIdentity != "" {
		ids = append(ids, c.TouchIdentity)
	}
	if f := c.NewFlow; f != nil {
		ids = append(ids, f.ID)
		text = append(text, f.Provider, string(f.Kind), f.Form)
	}
	if u := c.NewUser; u != nil {
		ids = append(ids, u.ID)
		text = append(text, u.Email, u.VerifiedBy, u.Name, u.AvatarURL, u.Timezone, u.Language)
	}
	if u := c.UpdateUser; u != nil && u.Name != nil {
		text = append(text, *u.Name)
	}
	if c.Unlink != nil {
		ids = append(ids, c.Unlink.IDs...)
	}
	for _, e := range c.Audit {
		text = append(text, slices.Collect(maps.Values(e.Details))...)
	}
	if i := c.NewIdentity; i != nil {
		ids = append(ids, i.ID)
		text = append(text, i.Provider, i.Issuer, i.Subject, i.Email)
	}
	if v := c.NewSession; v != nil {
		ids = append(ids, v.ID)
		if v.IdentityID != "" {
			ids = append(ids, v.IdentityID)
		}
		text = append(append(text, v.Method, v.Upstream, v.IP, v.UserAgent), v.AMR...)
	}
	if r := c.RevokeSessions; r != nil && r.IdentityID != "" {
		ids = append(ids, r.IdentityID)
		text = append(text, r.Upstream...)
	}
	if c.Mail != nil {
		ids = append(ids, c.Mail.ID)
	}
	if slices.ContainsFunc(ids, func(id string) bool { return !isID(id) }) {
		return errID
	}
	if !isText(text...) {
		return ErrText
	}
	return nil
}
