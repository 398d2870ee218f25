#!/usr/bin/env bash
# The whole story with curl against a running gateway (make run); fails loudly at the first
# step that is not as it should be.
#   BASE  where the gateway is            (http://127.0.0.1:8000)
#   MAIL  where it writes its mails       (data/mail)
set -euo pipefail
cd "$(dirname "$0")/../.."
BASE=${BASE:-http://127.0.0.1:8000}
MAIL=${MAIL:-data/mail}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
email="walker-$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n')@example.com"
password="correct horse battery $(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')"

step() { printf '\n== %s\n' "$*"; }
fail() {
	printf '\nFAILED: %s\n' "$*" >&2
	[ ! -s "$work/body" ] || { cat "$work/body" >&2; echo >&2; }
	exit 1
}

# call STATUS METHOD PATH [CURL OPTION...]: the answer must have STATUS; head and body are kept.
call() {
	local want=$1 method=$2 path=$3 got
	shift 3
	got=$(curl -sS --max-time 20 -X "$method" -D "$work/head" -o "$work/body" -w '%{http_code}' "$@" "$BASE$path") || fail "$method $path: no answer"
	[ "$got" = "$want" ] || fail "$method $path: status $got, want $want"
	echo "$method ${path%%/verify/*}: $got"
}
json() { printf 'Content-Type: application/json'; }
post() { # post STATUS PATH BODY
	call "$1" POST "$2" -H "$(json)" -d "$3"
}
# field NAME: a text member of the last answer, at any depth.
field() { grep -o "\"$1\": *\"[^\"]*\"" "$work/body" | head -n 1 | sed 's/^[^:]*: *"\(.*\)"$/\1/'; }
expect() { grep -q -- "$1" "$work/body" || fail "the answer does not hold $1"; }
refuse() { ! grep -qi -- "$1" "$work/body" || fail "the answer holds $1"; }

# mailed PATTERN: waits for a mail to our address that holds PATTERN, and prints the match.
mailed() {
	local i found
	for ((i = 0; i < 100; i++)); do
		for file in $(grep -ls -- "$email" "$MAIL"/*.eml 2>/dev/null || true); do
			# Long lines of a mail are folded with "=" at their end.
			found=$(sed ':a;N;$!ba;s/=\r*\n//g;s/=3D/=/g' "$file" | grep -o -- "$1" | head -n 1 || true)
			[ -z "$found" ] || { echo "$found"; return; }
		done
		sleep 0.1
	done
	fail "no mail with $1 in $MAIL"
}

step "the gateway is ready"
call 200 GET /ready/
call 200 GET /status

step "no token, no way in"
call 401 GET /api/notes
grep -qi '^www-authenticate: Bearer' "$work/head" || fail "401 without WWW-Authenticate"

step "register"
post 400 /auth/register "{\"email\":\"$email\",\"password\":\"password1\",\"name\":\"Walker\"}"
expect WEAK_PASSWORD
post 202 /auth/register "{\"email\":\"$email\",\"password\":\"$password\",\"name\":\"Walker\"}"
post 403 /auth/login "{\"email\":\"$email\",\"password\":\"$password\"}"
expect EMAIL_NOT_VERIFIED

step "read the mail and verify"
link=$(mailed '/auth/verify/[A-Za-z0-9_-]\{43\}')
call 200 GET "$link"
call 400 GET "$link"
expect INVALID_TOKEN

step "log in"
post 401 /auth/login "{\"email\":\"$email\",\"password\":\"not the password\"}"
expect INVALID_CREDENTIALS
post 200 /auth/login "{\"email\":\"$email\",\"password\":\"$password\"}"
access=$(field access_token) refresh=$(field refresh_token)

step "call the protected route; what the upstream got"
call 200 GET /api/notes/1?color=red -H "Authorization: Bearer $access" -H 'X-User-Id: somebody else'
cat "$work/body"
expect "\"X-User-Email\": \"$email\""
expect '"X-User-Id": "0'
expect '"X-Auth-Method": "email"'
expect '"X-Request-Id": "req_'
refuse 'somebody else'
refuse "$access"
call 400 GET /api/notes -H "Authorization: Bearer $access" -H 'X_User_ID: somebody else'
call 401 GET /api/notes -H "Authorization: Bearer ${access%?????}AAAAA"

step "refresh"
post 200 /auth/refresh "{\"refresh_token\":\"$refresh\"}"
second=$(field refresh_token) access=$(field access_token)
[ "$second" != "$refresh" ] || fail "the refresh token was not rotated"
post 200 /auth/refresh "{\"refresh_token\":\"$second\"}"
access=$(field access_token)
call 200 GET /api/notes -H "Authorization: Bearer $access"

step "the spent refresh token again: a thief, so the whole session ends"
post 401 /auth/refresh "{\"refresh_token\":\"$refresh\"}"
expect TOKEN_REVOKED
post 401 /auth/refresh "{\"refresh_token\":\"$second\"}"
expect TOKEN_REVOKED
call 401 GET /api/notes -H "Authorization: Bearer $access"
expect TOKEN_REVOKED

step "log in anew and hit the rate limit of a route"
post 200 /auth/login "{\"email\":\"$email\",\"password\":\"$password\"}"
access=$(field access_token) refresh=$(field refresh_token)
for _ in 1 2 3 4 5; do call 200 GET /api/strict -H "Authorization: Bearer $access"; done
call 429 GET /api/strict -H "Authorization: Bearer $access"
expect RATE_LIMIT_EXCEEDED
grep -qi '^retry-after: ' "$work/head" || fail "429 without Retry-After"

step "log out; the old access token is refused within a second"
call 204 POST /auth/logout -H "Authorization: Bearer $access"
sleep 1
call 401 GET /api/notes -H "Authorization: Bearer $access"
expect TOKEN_REVOKED
post 401 /auth/refresh "{\"refresh_token\":\"$refresh\"}"
expect TOKEN_REVOKED

printf '\nAll as it should be.\n'
