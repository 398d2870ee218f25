#!/bin/sh
# Postgres' image runs this once, when it makes its data: a role for the gateway, with a database
# that it owns and nothing else.
set -eu
psql -U postgres -d postgres -v ON_ERROR_STOP=1 <<'SQL'
\set password `cat /run/secrets/shield_password`
CREATE ROLE shield LOGIN PASSWORD :'password';
CREATE DATABASE shield OWNER shield;
REVOKE ALL ON DATABASE shield FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
SQL
