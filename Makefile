# Bare `make` prints what there is. Tools are pinned by the tool lines of go.mod (protoc
# plugins) and tools.mod (buf, staticcheck).
SHELL := /bin/bash
.DEFAULT_GOAL := help

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
BUF     := $(GO) tool -modfile=tools.mod buf
LINT    := $(GO) tool -modfile=tools.mod staticcheck
ARGS    ?=
DECK    ?= deck

.PHONY: help run build dev test check lint generate bench pgo conformance fuzz bench-fleet chaos limits ops parity deck clean tidy

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

build: ## bin/seki
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/seki ./cmd/seki

run: build ## both planes in one process on the embedded store (ARGS="--proxy-listen :9080")
	@exec ./bin/seki run $(ARGS)

dev: build ## like run, with debug logs and a data folder of its own
	@exec ./bin/seki run --data-dir .cache/dev --log-level debug $(ARGS)

test: ## all tests with -race; gets PostgreSQL, Redis and what else it needs
	@test/setup.sh
	$(GO) test -race -timeout 20m ./...
	@# The race detector allocates: what allocates nothing is pinned without it.
	$(GO) test -run 'Alloc' ./plugin/... ./dataplane/...

check: ## lint, generated files, buf, arrows: all but the tests
	@test/check.sh

lint: ## gofmt, vet, staticcheck, buf lint
	@test -z "$$(gofmt -l $$(git ls-files '*.go' | grep -v -e '\.pb\.go$$'))" || { gofmt -l $$(git ls-files '*.go' | grep -v -e '\.pb\.go$$'); echo 'run gofmt on these'; exit 1; }
	$(GO) vet ./...
	$(LINT) ./...
	$(BUF) lint

generate: ## code from .proto files, the plugin list, reference pages
	$(BUF) generate
	$(GO) generate ./plugin/all
	$(GO) run ./cmd/seki-gen differences
	$(GO) run ./cmd/seki-gen ops

bench: ## CPU per proxied request beside nginx and net/http, in one run
	@test/setup.sh --bench
	$(GO) run ./test/bench $(ARGS)

pgo: ## what the compiler is told of the gateway under load: cmd/seki/default.pgo
	@test/setup.sh --bench
	@rm -rf .cache/pgo && mkdir -p .cache/pgo
	$(GO) run ./test/bench -profile "$$PWD/.cache/pgo" -only "seki,seki, the guide's chain" -rounds 3 -seconds 4
	$(GO) tool pprof -proto .cache/pgo/*.prof > cmd/seki/default.pgo

conformance: ## HTTP/1.1 byte by byte: verdicts by RFC section, against net/http too
	@for poller in net own; do echo "poller: $$poller"; SEKI_POLLER=$$poller $(GO) test -count=1 ./dataplane/engine ./dataplane/upstream || exit 1; done
	@set -o pipefail; $(GO) test -count=1 -v -run 'Corpus|Every|Fuzz' ./dataplane/engine/... | grep -E '^(---|ok|FAIL|PASS|    --- FAIL)'

fuzz: ## every fuzz target for a while (FUZZTIME=20s)
	@test/fuzz.sh

bench-fleet: ## a change reaching a thousand nodes, and groups switched, on real processes
	@test/setup.sh
	SEKI_FLEET_FULL=1 $(GO) test -count=1 -timeout 20m -v ./test/fleet

chaos: ## break an installation in every way of the failure matrix, on real processes
	@test/setup.sh
	$(GO) test -count=1 -run Poison ./test/e2e/feed
	SEKI_CHAOS_FULL=1 $(GO) test -count=1 -timeout 15m -v $(ARGS) ./test/chaos

limits: ## ways to limit side by side in the simulator, then ten gates on real Redis servers
	@test/setup.sh
	$(GO) run ./test/limits $(ARGS)
	SEKI_LIMITS_FULL=1 $(GO) test -count=1 -v ./test/limits

ops: ## operation on real processes: blocks, moves of the store, backups, doctor, monitor, units, chart
	@test/ops.sh

deck: ## the real decK against the gateway (DECK=path of a built decK 1.55)
	@test -x "$$(command -v '$(DECK)')" || { echo 'make deck DECK=PATH: PATH is a decK that was built or downloaded: https://github.com/kong/deck'; exit 2; }
	@test/setup.sh
	SEKI_TEST_DECK="$$(realpath "$$(command -v '$(DECK)')")" $(GO) test -count=1 -v -timeout 30m ./test/deck | grep -E '^ *(---|FAIL|ok|decK|[a-z_]+_test.go)'

parity: ## replay Kong's recorded answers
	@test/setup.sh
	@# Vectors are tests of the rooms that they are about; transcripts and sessions are replayed.
	$(GO) test -count=1 ./model/... ./dataplane/router ./dataplane/engine ./plugin/... | grep -v 'no test files'
	$(GO) test -count=1 -v $(ARGS) ./test/parity

tidy: ## go.mod and tools.mod in order
	$(GO) mod tidy
	$(GO) mod tidy -modfile=tools.mod

clean: ## what was built, and the data of make run and make dev
	rm -rf bin .cache .seki
