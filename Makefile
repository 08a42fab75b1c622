# The commands of developers and of .ci/run. `make` alone lists them.

GO ?= go
TOOL := $(GO) tool -modfile=tools/go.mod

# Packages for `make lint`, `make vet`, `make test`, `make fuzz`.
PKGS ?= ./...

# Packages that the race detector can run: they fork no task. A forked task has
# no runtime, so it has no detector either.
RACE_PKGS ?= ./fdstore/... ./images/... ./internal/... ./tasktree/... ./restore/internal/program/...

# Packages with benchmarks, and how long each of these runs.
BENCH_PKGS ?= ./fdstore/... ./images/... ./internal/... ./restore/... ./tasktree/shrink
BENCHTIME ?= 1s
# Flags of the comparison with the floor, see test/bench.
BENCHFLAGS ?=

# How long each fuzz target runs: a time, or a count such as 20000x.
FUZZTIME ?= 30s

# Packages whose coverage counts.
COVER_PKGS := ./cmd/...,./fdstore/...,./images/...,./internal/...,./restore/...,./tasktree/...

.DEFAULT_GOAL := help

.PHONY: help
help: ## List what can be made (default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## Build ./bin/regrow and ./bin/fdhold, which need no C library
	CGO_ENABLED=0 $(GO) build -o bin/regrow ./cmd/regrow
	CGO_ENABLED=0 $(GO) build -o bin/fdhold ./cmd/fdhold

.PHONY: build-all
build-all: ## Build everything in every way that must work
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=1 $(GO) build ./...
	GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	@# The packages for other modules compile everywhere; the rest requires Linux.
	GOOS=darwin CGO_ENABLED=0 $(GO) build ./fdstore/...
	GOOS=windows CGO_ENABLED=0 $(GO) build ./fdstore/...
	@# Linked, not only compiled: without optimization frames grow and may
	@# overflow the stack of nosplit code, which the linker reports.
	$(GO) build -gcflags=all='-N -l' -o /dev/null ./cmd/regrow
	GOARCH=arm64 CGO_ENABLED=0 $(GO) build -gcflags=all='-N -l' -o /dev/null ./cmd/regrow
	$(GO) build -buildmode=pie -o /dev/null ./cmd/regrow
	$(GO) build -cover -o /dev/null ./cmd/regrow
	CGO_ENABLED=1 $(GO) build -race -o /dev/null ./cmd/regrow

# go test, with the number of tests and the reasons of skips at the end.
TALLY := $(GO) run ./test/tally

.PHONY: test
test: ## Run the tests; those that need root skip and say so
	$(TALLY) $(PKGS)

.PHONY: test-root
test-root: ## Run all tests as root; a test that would skip fails
	REGROW_TEST_ROOT=1 REGROW_TEST_ROUNDS=all $(TALLY) -count=1 -timeout 30m $(PKGS)

.PHONY: test-soak
test-soak: ## Run all tests as root with ten times the random rounds
	REGROW_TEST_ROOT=1 REGROW_TEST_ROUNDS=soak $(TALLY) -count=1 -timeout 4h $(PKGS)

# Random trees of test-verify.
VERIFIES ?= 10000

.PHONY: test-verify
test-verify: ## Restore VERIFIES (10000) random trees and check what regrow verify reports
	REGROW_TEST_ROOT=1 REGROW_TEST_VERIFIES=$(VERIFIES) $(GO) test -count=1 -timeout 4h -v -run '^TestVerifyRandomTrees$$' ./test/e2e

# The list is written by runs with REGROW_TEST_RECORD=$(RECORD).
.PHONY: test-missing
test-missing: ## List tests that are not on the list RECORD of passed tests
	$(TALLY) -missing '$(RECORD)' $(PKGS)

# Builds with which the end-to-end tests must pass, beside the plain one: environment
# variables and flags, as for env and GOFLAGS.
BUILDS ?= "CGO_ENABLED=1 -race" "CGO_ENABLED=1 -cover" "CGO_ENABLED=1 -buildmode=pie" "CGO_ENABLED=0" "CGO_ENABLED=1" \
	"CGO_ENABLED=1 '-gcflags=all=-N -l'" "CGO_ENABLED=0 -trimpath -ldflags=-s" "CGO_ENABLED=0 GOAMD64=v3"

# Each build runs the end-to-end tests that always run, and one of this number of parts
# of the others; the seed (REGROW_TEST_SEED) decides which.
PARTS ?= 4

.PHONY: test-builds
test-builds: ## Run the end-to-end tests with each build of regrow, a part with each
	@# Two at a time: the tests wait more than they compute. Each has a log, because
	@# they end in any order.
	@printf '%s\n' $(BUILDS) | awk '{ printf "%d/$(PARTS) %s\n", (NR - 1) % $(PARTS) + 1, $$0 }' | xargs -d '\n' -n 1 -P 2 sh -c ' \
		log=$$(mktemp); status=0; build=$${1#* }; \
		REGROW_TEST_ROOT=1 REGROW_TEST_PART=$${1%% *} REGROW_TEST_BUILD="$$build" $(TALLY) -count=1 ./test/e2e >"$$log" 2>&1 || status=1; \
		echo "go build $$build"; cat "$$log"; rm -f "$$log"; exit $$status' sh

.PHONY: test-builds-all
test-builds-all: ## Run all end-to-end tests with each build of regrow
	@$(MAKE) test-builds PARTS=1

# The kernels of test-vm, test-vm-hard and vm-shell: versions of Debian's kernels (5.10,
# 6.1, 6.12) and paths of images, separated by commas, or all, or newest.
KERNEL ?= all
# The machine's architecture: amd64 or arm64.
ARCH ?= $(shell $(GO) env GOARCH)
# Further flags: -pkg ./fdstore, -run '^TestX', -v, -seed 7; see docs/testing.md.
VMFLAGS ?=

.PHONY: test-vm
test-vm: ## Run all tests in virtual machines, with each KERNEL (all)
	$(GO) run ./test/vm -arch $(ARCH) -kernel '$(KERNEL)' $(VMFLAGS)

.PHONY: test-vm-hard
test-vm-hard: ## Run all tests with many random rounds, with the newest kernel
	$(GO) run ./test/vm -arch $(ARCH) -kernel '$(if $(filter all,$(KERNEL)),newest,$(KERNEL))' -hard -timeout 2h $(VMFLAGS)

.PHONY: vm-shell
vm-shell: ## Start a shell in a virtual machine that has regrow
	$(GO) run ./test/vm -arch $(ARCH) -kernel '$(if $(filter all,$(KERNEL)),newest,$(KERNEL))' -shell $(VMFLAGS)

.PHONY: race
race: ## Run the tests of the packages that do not fork under the race detector
	CGO_ENABLED=1 $(GO) test -race $(RACE_PKGS)

# A test binary can fuzz only one target at a time, so each has a run of its own.
.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (30s)
	@set -eu; \
	pkgs=$$($(GO) list $(PKGS)); \
	for pkg in $$pkgs; do \
		list=$$($(GO) test -list '^Fuzz' $$pkg) || { echo "$$list"; exit 1; }; \
		for target in $$list; do \
			case $$target in Fuzz*) ;; *) continue ;; esac; \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
		done; \
	done

.PHONY: gallery
gallery: build ## Predict and try the conflicts of test/scenarios with each strategy
	./bin/regrow conflicts --check test/scenarios

.PHONY: bench
bench: ## Compare a restore with the floor in C, then run the benchmarks
	$(GO) run ./test/bench $(BENCHFLAGS)
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(BENCH_PKGS)

# The figures of docs/performance.md. The restores of 10,000 tasks need as many pids.
FIGURES := docs/performance
FIGURE_TASKS ?= 100 300 1000 3000 10000
FIGURE_ROUNDS ?= 7

.PHONY: figures
figures: build ## Measure and draw the figures of docs/performance.md again
	@set -eu; mkdir -p $(FIGURES); : > $(FIGURES)/tasks.jsonl; \
	for n in $(FIGURE_TASKS); do \
		echo "$$n tasks"; \
		$(GO) run ./test/bench -regrow bin/regrow -tasks $$n -files 200 -rounds $(FIGURE_ROUNDS) -json >> $(FIGURES)/tasks.jsonl; \
	done
	@set -eu; : > $(FIGURES)/shapes.jsonl; \
	for shape in '-shape chain -tasks 500' '-shape private -tasks 1000 -fds 100' '-tasks 1 -fds 19990 -base 6 -files 1'; do \
		echo "bench $$shape"; \
		$(GO) run ./test/bench -regrow bin/regrow $$shape -rounds $(FIGURE_ROUNDS) -json >> $(FIGURES)/shapes.jsonl; \
	done
	$(GO) run ./test/bench/ballast | tee $(FIGURES)/ballast.txt
	$(GO) test -run '^$$' -bench 'Get/|Flat/' -count 3 ./fdstore > $(FIGURES)/get.txt
	$(GO) run ./test/bench -regrow bin/regrow -tasks 100 -files 50 -rounds 15 -trace $(FIGURES)/trace.json
	gzip -9nf $(FIGURES)/trace.json
	$(MAKE) plots

.PHONY: bench-store
bench-store: ## Measure and draw the figures of docs/fdstore.md again
	$(GO) run ./test/bench/store > $(FIGURES)/store.jsonl
	cd tools/plot && $(GO) run . -store ../../$(FIGURES)

.PHONY: plots
plots: ## Draw the figures of docs/performance.md from the measurements, and print its table
	cd tools/plot && $(GO) run . ../../$(FIGURES)

.PHONY: bench-smoke
bench-smoke: ## Run all benchmarks once with small sizes, to check that they work
	$(GO) run ./test/bench -tasks 20 -fds 4 -files 8 -rounds 1
	$(GO) run ./test/bench/store -rounds 1 -most 100
	$(GO) test -run '^$$' -bench . -benchtime 1x $(BENCH_PKGS)

.PHONY: lint
lint: ## Run golangci-lint, which also checks the format
	$(TOOL) golangci-lint run $(PKGS)

.PHONY: vet
vet: ## Run go vet, for both architectures
	$(GO) vet $(PKGS)
	GOARCH=arm64 CGO_ENABLED=0 $(GO) vet $(PKGS)
	cd tools/plot && $(GO) vet ./...

.PHONY: cover
cover: ## Write coverage.out and print the total
	$(GO) test -coverpkg=$(COVER_PKGS) -coverprofile=coverage.out ./...
	@$(GO) tool cover -func=coverage.out | tail -n 1

.PHONY: fmt
fmt: ## Format the source
	$(TOOL) golangci-lint fmt

.PHONY: clean
clean: ## Remove built files and coverage
	rm -rf bin coverage.out
