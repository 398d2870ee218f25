# Everything that is done with this repository; `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := go run golang.org/x/vuln/cmd/govulncheck@v1.6.0
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME    ?= 30s
TESTFLAGS   ?=

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15

.PHONY: build
build: plugins ## build the gateway into build/
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o build/shield ./cmd/shield

.PHONY: plugins
plugins: ## build the plugins into build/plugins/
	GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags "-s -w" -buildmode=c-shared -o build/plugins/email.wasm ./plugins/email/cmd
	GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags "-s -w" -buildmode=c-shared -o build/plugins/oauth.wasm ./plugins/oauth/cmd
	GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags "-s -w" -buildmode=c-shared -o build/plugins/saml.wasm ./plugins/saml/cmd

.PHONY: run
run: build ## start the quickstart on 127.0.0.1:8000
	go build -trimpath -o build/upstream ./examples/quickstart/upstream
	examples/quickstart/run.sh

.PHONY: test
test: ## every test, with the race detector, against real Postgres and Redis
	deploy/test/toolchains.sh
	deploy/test/servers.sh deploy/test/suite.sh $(TESTFLAGS)

.PHONY: verify-deploy
verify-deploy: ## every check of deploy/, with a table of them
	@deploy/verify/run.sh

.PHONY: rehearse
rehearse: ## rollouts and failures while people use three gateways: a table
	@deploy/rehearse/rollout.sh

.PHONY: bench
bench: ## benchmarks, as ratios in one run
	deploy/test/servers.sh go test -run '^$$' -bench . -benchmem ./gateway/... ./plugins/... ./sdk/...

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME
	@deploy/test/toolchains.sh
	@deploy/test/fuzz.sh $(FUZZTIME)

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go vet -tags prometheus .
	GOOS=wasip1 GOARCH=wasm go vet ./sdk/... ./plugins/email/... ./plugins/.../cmd
	GOOS=wasip1 GOARCH=wasm go build -o /dev/null ./plugins/... # whose tests are of the host
	$(STATICCHECK) ./...

.PHONY: vuln
vuln: ## known vulnerabilities of what is called; VULNDB=file://... for a local database
	$(GOVULNCHECK) $(if $(VULNDB),-db $(VULNDB)) ./...

.PHONY: workflows
workflows: ## actionlint and shellcheck on the workflows
	deploy/supply/tool actionlint

.PHONY: secrets-scan
secrets-scan: ## gitleaks on the files and the whole history
	deploy/supply/secrets-scan.sh

.PHONY: release-files
release-files: ## what a release consists of, into build/release/
	deploy/supply/release-files.sh

.PHONY: sbom
sbom: ## what the programs of build/release/ are made of, as SPDX and CycloneDX
	deploy/supply/sbom.sh

.PHONY: licenses
licenses: ## whether each licence of that is one we may take
	deploy/supply/licenses.sh

.PHONY: sign
sign: ## sign build/release/, without a key or with COSIGN_KEY; DRY=1 prints how
	deploy/supply/sign.sh

.PHONY: verify-release
verify-release: ## verify build/release/, by identity or COSIGN_PUBLIC_KEY; DRY=1 prints how
	deploy/supply/verify-release.sh

.PHONY: image
image: ## build the image and write it to build/image.tar
	deploy/supply/image.sh

.PHONY: image-scan
image-scan: ## trivy on build/image.tar: nothing high or critical
	deploy/supply/image-scan.sh

.PHONY: fmt
fmt: ## gofmt everything
	gofmt -w .

.PHONY: check
check: test lint ## what CI runs

.PHONY: clean
clean: ## remove what was built and the quickstart's data
	rm -rf build data
