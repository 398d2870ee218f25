#!/usr/bin/env bash
# Runs every check of what is deployed: each script of this directory prints lines of artefact,
# check and result with tabs between, and fails if one of them did. Then it prints the table of
# all.
#   deploy/verify/run.sh
set -uo pipefail
cd "$(dirname "$0")" || exit
table=$(mktemp)
trap 'rm -f "$table"' EXIT
failed=0
for script in [0-9a-z]*.sh; do
	[ "$script" != run.sh ] || continue
	echo "== $script" >&2
	"./$script" | tee -a "$table" >&2 || {
		failed=1
		printf '%s\tran to its end without a failure\tFAIL\n' "deploy/verify/$script" >>"$table"
	}
done
awk -F '\t' '
	{ for (i = 1; i < 3; i++) if (length($i) > width[i]) width[i] = length($i); row[NR] = $0 }
	END { for (n = 1; n <= NR; n++) { split(row[n], f, "\t"); printf "%-*s  %-*s  %s\n", width[1], f[1], width[2], f[2], f[3] } }
' "$table"
exit "$failed"
