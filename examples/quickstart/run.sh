#!/usr/bin/env bash
# Starts the demo upstream and the gateway, and says what to try once it is ready.
# Ctrl-C stops both.
set -euo pipefail
cd "$(dirname "$0")/../.."
export SHIELD_LISTEN=${SHIELD_LISTEN:-127.0.0.1:8000}
export SHIELD_UPSTREAM=${SHIELD_UPSTREAM:-http://127.0.0.1:8001}
export SHIELD_PUBLIC_URL=${SHIELD_PUBLIC_URL:-http://$SHIELD_LISTEN}
mail=${SHIELD_DATA:-data}/mail
host=${SHIELD_LISTEN%:*} port=${SHIELD_LISTEN##*:}

stop() {
	trap - EXIT INT TERM
	kill "${gateway:-}" 2>/dev/null && wait "$gateway" 2>/dev/null || true
	kill "${upstream:-}" 2>/dev/null || true
	wait 2>/dev/null || true
}
trap stop EXIT
trap 'exit 0' INT TERM

build/upstream -listen "${SHIELD_UPSTREAM#http://}" &
upstream=$!
build/shield serve -config examples/quickstart/shield.yaml &
gateway=$!

ready() {
	local line
	exec 3<>"/dev/tcp/$host/$port" || return
	printf 'GET /ready/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$SHIELD_LISTEN" >&3
	read -r -t 2 line <&3 || line=
	exec 3>&-
	[[ $line == *" 200 "* ]]
}
for ((i = 0; i < 600; i++)); do
	ready 2>/dev/null && break
	kill -0 "$gateway" 2>/dev/null || { wait "$gateway"; exit 1; }
	sleep 0.1
done

cat <<TXT

Shield is ready on $SHIELD_PUBLIC_URL. In another terminal, in this order:

  curl -d '{"email":"ann@example.com","password":"a long good passphrase","name":"Ann"}' -H 'Content-Type: application/json' $SHIELD_PUBLIC_URL/auth/register
  curl "\$(sed ':a;N;\$!ba;s/=\r*\n//g' $mail/*.eml | grep -o '$SHIELD_PUBLIC_URL/auth/verify/[A-Za-z0-9_-]*' | tail -n 1)"
  TOKEN=\$(curl -s -d '{"email":"ann@example.com","password":"a long good passphrase"}' -H 'Content-Type: application/json' $SHIELD_PUBLIC_URL/auth/login | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -H "Authorization: Bearer \$TOKEN" $SHIELD_PUBLIC_URL/api/notes
  curl -X POST -H "Authorization: Bearer \$TOKEN" $SHIELD_PUBLIC_URL/auth/logout

The whole story, checked at each step: examples/quickstart/walkthrough.sh
TXT
wait "$gateway"
