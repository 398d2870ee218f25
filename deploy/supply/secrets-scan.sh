#!/usr/bin/env bash
# Fails if a secret is in the files of this checkout or anywhere in the history of its commit.
# What looks like one and is none is in .gitleaks.toml, with the reason.
#   deploy/supply/secrets-scan.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$(git rev-parse --is-shallow-repository)" = true ]; then
	echo 'this clone has no history to look through: git fetch --unshallow' >&2
	exit 1
fi
gitleaks=$(deploy/supply/tool -path gitleaks)
"$gitleaks" git --no-banner --redact --verbose --log-opts HEAD .
# What is not committed yet: the files that git knows or would add.
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
git ls-files -z --cached --others --exclude-standard | xargs -0r cp --parents -t "$files" --
cd "$files" # paths of .gitleaks.toml are from the top of the repository
"$gitleaks" dir --no-banner --redact --verbose .
