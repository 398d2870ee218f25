-- What logins at other sites need. verified_by names the provider on whose word an address
-- counts as verified; it is empty where a mailed link was followed. A session knows the
-- identity that it began with, and what the other site calls it. tokens are what the other
-- site issued for later use, encrypted.

ALTER TABLE shield_users ADD COLUMN verified_by text NOT NULL DEFAULT '';

ALTER TABLE shield_identities ADD COLUMN tokens blob;

ALTER TABLE shield_sessions ADD COLUMN identity_id text REFERENCES shield_identities (id) ON DELETE SET NULL;
ALTER TABLE shield_sessions ADD COLUMN upstream text NOT NULL DEFAULT '';
CREATE INDEX shield_sessions_identity ON shield_sessions (identity_id) WHERE identity_id IS NOT NULL;

-- What was done to accounts, by whom, on which grounds. Rows are only added.
CREATE TABLE shield_audit (
    id       text PRIMARY KEY,
    at       integer NOT NULL,
    action   text NOT NULL,
    user_id  text,
    actor_id text,
    details  text NOT NULL
) STRICT;
CREATE INDEX shield_audit_user ON shield_audit (user_id, at);
