-- Users, the logins that are linked to them, sessions, waiting flows, the mail queue and the
-- key-value maps of the providers. The names have a prefix, so that the tables can stand
-- beside those of another program.

CREATE TABLE shield_users (
    id         uuid PRIMARY KEY,
    email      text NOT NULL,
    verified   boolean NOT NULL,
    name       text NOT NULL,
    avatar_url text NOT NULL,
    timezone   text NOT NULL,
    language   text NOT NULL,
    status     text NOT NULL CHECK (status IN ('pending', 'active', 'suspended', 'deleted')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX shield_users_email ON shield_users (email) WHERE status <> 'deleted';

CREATE TABLE shield_identities (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES shield_users (id) ON DELETE CASCADE,
    provider     text NOT NULL,
    issuer       text NOT NULL,
    subject      text NOT NULL,
    email        text NOT NULL,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    UNIQUE (provider, issuer, subject)
);
CREATE INDEX shield_identities_user ON shield_identities (user_id);

-- One row for each login. It holds no refresh token: that is computed from id, counter,
-- salt and the secret key of the installation.
CREATE TABLE shield_sessions (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES shield_users (id) ON DELETE CASCADE,
    counter      bigint NOT NULL CHECK (counter > 0),
    used         bigint NOT NULL,
    salt         bytea NOT NULL,
    method       text NOT NULL,
    amr          jsonb NOT NULL,
    ip           text NOT NULL,
    user_agent   text NOT NULL,
    created_at   timestamptz NOT NULL,
    rotated_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    reason       text NOT NULL
);
CREATE INDEX shield_sessions_user ON shield_sessions (user_id);
CREATE INDEX shield_sessions_expires ON shield_sessions (expires_at);
CREATE INDEX shield_sessions_revoked ON shield_sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- Sessions whose access tokens must not be accepted any more. Every gateway reads the new
-- ones twice a second. at is the time of this database, whatever the gateways' clocks say.
CREATE TABLE shield_revocations (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id uuid NOT NULL,
    at         timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX shield_revocations_at ON shield_revocations (at);
CREATE INDEX shield_revocations_expires ON shield_revocations (expires_at);

-- Flows that wait for a person to come back. The person holds a token, this row its SHA-256.
CREATE TABLE shield_flows (
    id         uuid PRIMARY KEY,
    hash       bytea NOT NULL UNIQUE,
    provider   text NOT NULL,
    kind       text NOT NULL,
    form       text NOT NULL,
    user_id    uuid REFERENCES shield_users (id) ON DELETE CASCADE,
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX shield_flows_user ON shield_flows (user_id, kind);
CREATE INDEX shield_flows_expires ON shield_flows (expires_at);

-- Mail that waits. Its content is encrypted, since it holds one-time links.
CREATE TABLE shield_mail (
    id         uuid PRIMARY KEY,
    sealed     bytea NOT NULL,
    attempts   integer NOT NULL,
    created_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL
);
CREATE INDEX shield_mail_due ON shield_mail (due_at, id);

CREATE TABLE shield_kv (
    provider   text NOT NULL,
    key        text NOT NULL,
    value      bytea NOT NULL,
    version    bigint NOT NULL CHECK (version > 0),
    expires_at timestamptz,
    PRIMARY KEY (provider, key)
);
CREATE INDEX shield_kv_expires ON shield_kv (expires_at) WHERE expires_at IS NOT NULL;
