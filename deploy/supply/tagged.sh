#!/usr/bin/env bash
# Fails unless this is a commit that may become a release: tagged vX.Y.Z, unchanged, and on main,
# where CI and a review have seen it.
#   deploy/supply/tagged.sh
set -euo pipefail
# shellcheck source=deploy/supply/release.env
. "$(dirname "$0")/release.env"

refuse() { echo "no release: $*" >&2; exit 1; }
[[ $VERSION =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || refuse "$VERSION is not a version like v1.2.3"
[ "$(git rev-parse --quiet --verify "refs/tags/$VERSION^{commit}")" = "$REVISION" ] || refuse "$VERSION is not the tag of this commit"
[ -z "$(git status --porcelain)" ] || refuse 'files were changed since the commit'
git merge-base --is-ancestor "$REVISION" refs/remotes/origin/main || refuse 'the commit is not on main'
echo "$VERSION is $REVISION of $CREATED"
