# The gateway as an image: one static program with time zones in it, its plugins, certificate
# authorities, and nothing else: no shell, no package manager, no file that anybody may write.
#
#   docker build -t shield \
#     --build-arg VERSION="$(git describe --tags --always)" \
#     --build-arg REVISION="$(git rev-parse HEAD)" \
#     --build-arg CREATED="$(git log -1 --format=%cI)" .
#
# The same arguments and the same BUILDER make the same bytes: every file has the date CREATED.
# See docs/containers.md.
ARG BUILDER=golang:1.26-bookworm

FROM ${BUILDER} AS build
# Where modules come from, if not from where go has them by itself. Arguments stay in the
# history of this stage, so give no password in them.
ARG GOPROXY
ARG GOSUMDB
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-trimpath -buildvcs=false -mod=readonly"
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN go build -tags timetzdata -ldflags "-s -w -buildid= -X main.version=${VERSION}" -o /out/root/usr/bin/shield ./cmd/shield \
 && for plugin in email oauth saml; do \
      GOOS=wasip1 GOARCH=wasm go build -ldflags "-s -w -buildid=" -buildmode=c-shared \
        -o /out/root/usr/lib/shield/plugins/$plugin.wasm ./plugins/$plugin/cmd || exit 1; \
    done
ARG CREATED=1970-01-01T00:00:00Z
RUN cd /out/root \
 && mkdir -p etc/shield etc/ssl/certs tmp usr/share/doc/shield var/lib /out/data/shield \
 && cp /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ \
 && cp /src/LICENSE /src/NOTICE usr/share/doc/shield/ \
 && echo 'shield:x:1000:1000:Shield:/var/lib/shield:/nonexistent' > etc/passwd \
 && echo 'shield:x:1000:' > etc/group \
 && find . -type f -exec chmod 0444 {} + \
 && find . -type d -exec chmod 0555 {} + \
 && chmod 0555 usr/bin/shield && chmod 1777 tmp && chmod 0700 /out/data/shield \
 && find /out -exec touch -h -d "${CREATED}" {} +

FROM scratch
COPY --from=build /out/root/ /
COPY --from=build --chown=1000:1000 /out/data/ /var/lib/
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Shield" \
      org.opencontainers.image.description="An identity gateway" \
      org.opencontainers.image.source="https://github.com/materi/shield" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
ENV SHIELD_CONFIG=/etc/shield/shield.yaml SHIELD_PLUGINS=/usr/lib/shield/plugins
USER 1000:1000
VOLUME /var/lib/shield
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=5s --retries=3 CMD ["/usr/bin/shield", "health"]
ENTRYPOINT ["/usr/bin/shield"]
CMD ["serve"]
