#!/usr/bin/env bash
# Pushes the image of build/image.tar, signs its digest, says what it is made of, and verifies the
# signature as a user would. DRY=1 prints the commands.
#   GH_TOKEN=... deploy/supply/push-image.sh
set -euo pipefail
# shellcheck source=deploy/supply/release.env
. "$(dirname "$0")/release.env"

shown docker load --input build/image.tar
shown docker tag "shield:$VERSION" "$IMAGE:$VERSION"
shown docker login "${IMAGE%%/*}" --username "${GITHUB_ACTOR:-nobody}" --password-stdin <<<"${GH_TOKEN:-}"
shown docker push "$IMAGE:$VERSION"
if [ -n "${DRY:-}" ]; then
	digest=sha256:$(printf '0%.0s' {1..64})
else
	digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$IMAGE:$VERSION" | sed -n "s|^$IMAGE@||p")
fi
# By the digest: a tag can be moved between the push and the signature.
shown "$TOOL" cosign sign --yes "$IMAGE@$digest"
shown "$TOOL" cosign attest --yes --type spdxjson --predicate build/release/shield.spdx.json "$IMAGE@$digest"
shown "$TOOL" cosign verify --certificate-identity "$IDENTITY" --certificate-oidc-issuer "$ISSUER" "$IMAGE@$digest"
printf 'name=%s\ndigest=%s\n' "$IMAGE" "$digest" >>"${GITHUB_OUTPUT:-/dev/null}"
