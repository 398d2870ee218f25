-- Users, the logins that are linked to them, sessions, waiting flows, the mail queue and the
-- key-value maps of the providers. The names have a prefix, so that the tables can stand
-- beside those of another program. Times are microseconds since 1970-01-01T00:00:00Z.

CREATE TABLE shield_users (
    id         text PRIMARY KEY,
    email      text NOT NULL,
    verified   integer NOT NULL,
    name       text NOT NULL,
    avatar_url text NOT NULL,
    timezone   text NOT NULL,
    language   text NOT NULL,
    status     text NOT NULL CHECK (status IN ('pending', 'active', 'suspended', 'deleted')),
    created_at integer NOT NULL,
    updated_at integer NOT NULL
) STRICT;
CREATE UNIQUE INDEX shield_users_email ON shield_users (email) WHERE status <> 'deleted';

CREATE TABLE shield_identities (
    id           text PRIMARY KEY,
    user_id      text NOT NULL REFERENCES shield_users (id) ON DELETE CASCADE,
    provider     text NOT NULL,
    issuer       text NOT NULL,
    subject      text NOT NULL,
    email        text NOT NULL,
    created_at   integer NOT NULL,
    last_used_at integer,
    UNIQUE (provider, issuer, subject)
) STRICT;
CREATE INDEX shield_identities_user ON shield_identities (user_id);

-- One row for each login. It holds no refresh token: that is computed from id, counter,
-- salt and the secret key of the installation.
CREATE TABLE shield_sessions (
    id           text PRIMARY KEY,
    user_id      text NOT NULL REFERENCES shield_users (id) ON DELETE CASCADE,
    counter      integer NOT NULL CHECK (counter > 0),
    used         integer NOT NULL,
    salt         blob NOT NULL,
    method       text NOT NULL,
    amr          text NOT NULL,
    ip           text NOT NULL,
    user_agent   text NOT NULL,
    created_at   integer NOT NULL,
    rotated_at   integer NOT NULL,
    last_used_at integer NOT NULL,
    expires_at   integer NOT NULL,
    revoked_at   integer,
    reason       text NOT NULL
) STRICT;
CREATE INDEX shield_sessions_user ON shield_sessions (user_id);
CREATE INDEX shield_sessions_expires ON shield_sessions (expires_at);
CREATE INDEX shield_sessions_revoked ON shield_sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- Sessions whose access tokens must not be accepted any more. Every gateway reads the new
-- ones twice a second. at is the time of this database, whatever the gateways' clocks say.
CREATE TABLE shield_revocations (
    seq        integer PRIMARY KEY AUTOINCREMENT,
    session_id text NOT NULL,
    at         integer NOT NULL,
    expires_at integer NOT NULL
) STRICT;
CREATE INDEX shield_revocations_at ON shield_revocations (at);
CREATE INDEX shield_revocations_expires ON shield_revocations (expires_at);

-- Flows that wait for a person to come back. The person holds a token, this row its SHA-256.
CREATE TABLE shield_flows (
    id         text PRIMARY KEY,
    hash       blob NOT NULL UNIQUE,
    provider   text NOT NULL,
    kind       text NOT NULL,
    form       text NOT NULL,
    user_id    text REFERENCES shield_users (id) ON DELETE CASCADE,
    sealed     blob NOT NULL,
    created_at integer NOT NULL,
    expires_at integer NOT NULL
) STRICT;
CREATE INDEX shield_flows_user ON shield_flows (user_id, kind);
CREATE INDEX shield_flows_expires ON shield_flows (expires_at);

-- Mail that waits. Its content is encrypted, since it holds one-time links.
CREATE TABLE shield_mail (
    id         text PRIMARY KEY,
    sealed     blob NOT NULL,
    attempts   integer NOT NULL,
    created_at integer NOT NULL,
    due_at     integer NOT NULL
) STRICT;
CREATE INDEX shield_mail_due ON shield_mail (due_at, id);

CREATE TABLE shield_kv (
    provider   text NOT NULL,
    key        text NOT NULL,
    value      blob NOT NULL,
    version    integer NOT NULL CHECK (version > 0),
    expires_at integer,
    PRIMARY KEY (provider, key)
) STRICT;
CREATE INDEX shield_kv_expires ON shield_kv (expires_at) WHERE expires_at IS NOT NULL;
