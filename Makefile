# Everything that is done with this repository, by name. `make help` lists it.
# A plain `make build` needs Go only; clang-19 and protoc are for `generate`.

SHELL := /bin/bash
.DEFAULT_GOAL := help

GO ?= go
FUZZTIME ?= 30s
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Guests are emulated: a whole run of one takes minutes.
TESTFLAGS ?= -timeout 38m

C_FILES = $(shell git ls-files 'bpf/*.c' 'bpf/*.h' | grep -v '^bpf/fields.h$$')

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: build
build: ## compile bailiff into build/ (static)
	CGO_ENABLED=0 $(GO) build -o build/bailiff ./cmd/bailiff

.PHONY: generate
generate: ## make BPF objects, protobuf code and docs anew (needs clang-19, llvm-19, libbpf-dev, protobuf-compiler)
	$(GO) generate ./bpf/...
	proto/generate.sh
	$(GO) generate $$($(GO) list ./... | grep -v '/bpf')

.PHONY: check-generated
check-generated: generate ## fail if generated files in git are not what `make generate` makes
	@git diff --exit-code --stat -- . && [ -z "$$(git ls-files --others --exclude-standard)" ] || \
		{ git status --short; echo "Generated files differ from their sources: run 'make generate' and commit what it changes." >&2; exit 1; }

.PHONY: demo
demo: ## block a program with the embedded rules on this machine (root), limited to a cgroup of its own
	$(GO) run ./e2e/demo

.PHONY: demo-guest
demo-guest: ## the same in a guest with Linux 6.12, where refusals come from the LSM (any machine with QEMU)
	@e2e/setup.sh
	$(GO) run ./e2e/demo -guest 6.12

.PHONY: test
test: ## all tests that this machine can run, and at the end what ran and what did not
	@e2e/setup.sh
	$(GO) test -json $(TESTFLAGS) ./... | $(GO) run ./e2e/report

.PHONY: test-root
test-root: ## the tests that need root and the kernel of this machine
	$(GO) test $(TESTFLAGS) -skip '^TestGuest' -v ./bpf/... ./e2e

.PHONY: e2e
e2e: ## the scenarios: natively and in guests (E2E_RUN=regexp picks tests of the guests)
	@e2e/setup.sh
	BAILIFF_E2E_RUN='$(E2E_RUN)' $(GO) test $(TESTFLAGS) -count=1 -v ./e2e

.PHONY: soundness
soundness: ## compare OPA with the kernel's tables on 500,000 random pairs of a policy and an input, over all fields (root)
	BAILIFF_E2E_SOUNDNESS=$(or $(PAIRS),500000) $(GO) test $(TESTFLAGS) -count=1 -v -run '^TestSoundness$$' ./e2e

.PHONY: day
day: ## a day in the life of a Debian server under the rules that ship, in a guest, in enforce and audit mode
	@e2e/setup.sh
	BAILIFF_E2E_DAY=1 $(GO) test $(TESTFLAGS) -count=1 -v -run '^TestGuestDay$$' ./e2e

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (30s)
	@set -e; for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p; \
		done; done

.PHONY: bench
bench: ## the figures of docs/performance.md
	@e2e/setup.sh
	$(GO) test -run '^$$' -bench . -benchmem ./policy/... ./enforcer/... ./internal/... ./cmd/bailiff
	BAILIFF_E2E_BENCH=1 $(GO) test $(TESTFLAGS) -count=1 -v -run '^TestGuest(Instructions|DigestCost)$$|^TestNative(Cost|Storm|Cycles|Latency|Memory|Reload|BigBundle|Texts)$$' ./e2e

.PHONY: lint
lint: ## formatting, vet, staticcheck and the rules of the repository
	@test -z "$$(gofmt -l $$(git ls-files '*.go') | tee /dev/stderr)" || { echo "Not formatted: run 'make fmt'." >&2; exit 1; }
	@if [ -f .clang-format ] && command -v clang-format-19 >/dev/null; then clang-format-19 --dry-run -Werror $(C_FILES); fi
	$(GO) vet ./...
	$(GO) test ./internal/lint
	$(GO) run $(STATICCHECK) ./...

.PHONY: fmt
fmt: ## format Go and C
	gofmt -w $$(git ls-files '*.go')
	@if [ -f .clang-format ] && command -v clang-format-19 >/dev/null; then clang-format-19 -i $(C_FILES); fi

.PHONY: clean
clean: ## remove what was built
	rm -rf build
