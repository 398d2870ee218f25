#!/usr/bin/env bash
# Rehearses rollouts and failures under load: one row for each scenario, with what the people
# who used the installation noticed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
mkdir -p build
status=0

command -v shellcheck >/dev/null || { [ "$(id -u)" = 0 ] && apt-get install -y -qq --no-install-recommends shellcheck >/dev/null 2>&1; }
if shellcheck deploy/rehearse/rollout.sh deploy/verify/rehearse.sh >&2; then
	printf 'deploy/rehearse/rollout.sh\tshellcheck finds nothing\tok\n'
else
	printf 'deploy/rehearse/rollout.sh\tshellcheck finds nothing\tFAIL\n'
	status=1
fi

deploy/rehearse/rollout.sh -tsv >build/rehearse.tsv || status=1
awk -F '\t' '{ printf "make rehearse\t%s: %s requests, errors: %s; longest wait %s, gap %s\t%s\n", $1, $2, $3, $4, $5, $6 }' build/rehearse.tsv
# It does not come to its rows where haproxy refuses its file, or anything does not start.
if [ -s build/rehearse.tsv ]; then
	printf 'deploy/rehearse/haproxy.cfg\thaproxy -c finds nothing, and it serves\tok\n'
else
	printf 'deploy/rehearse/haproxy.cfg\thaproxy -c finds nothing, and it serves\tFAIL\n'
	status=1
fi
exit "$status"
