# What there is to do with keyway's source. make help lists it.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
DIST    ?= dist

# VERSION says what was built, and Go's own stamping fails in a clone that
# belongs to another user, as those of CI do.
export GOFLAGS := $(filter-out -buildvcs=%,$(GOFLAGS)) -buildvcs=false

# Programs are static: a node and a guest run on whatever libc the other machine
# has. And they are small: only INLINED packages, where bytes pass in bulk or
# signatures are made, are compiled with inlining, and functions are aligned to 8
# bytes instead of 32, in a guest not at all. That saves a keyway 4 % and a guest 8 %,
# and costs nothing that can be measured (internal/stream's BenchmarkThroughput).
#
# The kernel maps 2 MiB of a program at the first touch where its file is in the page
# cache as one piece and lies right in memory. A guest uses a tenth of that, so its text
# begins 64 KiB off: 1 MB less resident for each of its processes.
ALIGN = 8
guest-%: ALIGN = 1
guest-amd64: TEXT = -T 0x411000
INLINED = keyway/... runtime sync internal/... io bufio bytes net/http crypto/... golang.org/x/...
guest-%: INLINED = keyway/internal/guest keyway/internal/pipe keyway/internal/stream/... keyway/internal/screen/... keyway/internal/session/holder keyway/internal/session/option keyway/internal/session/words keyway/internal/unixsock keyway/internal/table internal/filepathlite runtime sync/atomic internal/poll internal/byteorder internal/cpu internal/reflectlite internal/strconv bytes internal/bytealg net/netip os/signal slices sort strconv hash/... unicode/... crypto/internal/fips140/aes/... crypto/internal/fips140/sha3
node-%: INLINED = keyway/internal/api keyway/internal/pipe keyway/internal/layers keyway/internal/unixsock runtime sync internal/... io bufio bytes net/http crypto/... golang.org/x/...
jupyter-%: INLINED = keyway/... runtime sync io bufio bytes
COMPILE = -trimpath -gcflags=all=-l $(INLINED:%=-gcflags=%=)
BUILD = CGO_ENABLED=0 $(WAITING) "building" $(GO) build $(COMPILE) -ldflags "-s -w -funcalign=$(ALIGN) $(TEXT) -X keyway/internal/keyway.Version=$(VERSION)"
WAITING = test/lab/waiting
PACK  = $(WAITING) "packing" $(GO) run ./internal/assets/pack

HOST_OS   := $(shell $(GO) env GOOS 2>/dev/null)
HOST_ARCH := $(shell $(GO) env GOARCH 2>/dev/null)
EXE       := $(shell $(GO) env GOEXE 2>/dev/null)

# A keyway carries the nodes that it sends to places. On Linux, where a place is
# most often a machine of the same kind, one built here carries that one only.
ifeq ($(HOST_OS),linux)
NODES = $(HOST_ARCH)
else
NODES = amd64 arm64
endif
empty =
comma = ,
tags  = $(subst $(empty) ,$(comma),$(strip $(1:%=embed_node_%)))

PREFIX ?= $(if $(filter 0,$(shell id -u)),/usr/local,$(HOME)/.local)
PLATFORMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64

# Bounds in bytes, what each program has plus a tenth; a node, which travels to every
# place, plus a fiftieth. A guest travels into every workspace, and goes there often: its
# bound stays.
MAX_KEYWAY = 32500000
MAX_NODE   = 12650000
MAX_GUEST  = 6000000
MAX_JUPYTER = 8000000
MAX_JUPYTER_PACKED = 3000000

FUZZTIME ?= 20s

.PHONY: help
help: ## show this list
	@grep -E '^[a-z]+:.* ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.* ## (.*)/\1\t\2/' | \
		while IFS="$$(printf '\t')" read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done

# Before anything is built or installed.
.PHONY: goversion
goversion:
	@test/lab/goversion $(GO)

.PHONY: build
build: goversion $(NODES:%=node-%) $(NODES:%=jupyter-%) ## build bin/keyway for this machine
	$(BUILD) -tags $(call tags,$(NODES)) -o bin/keyway$(EXE) ./cmd/keyway

SHARE = $(DESTDIR)$(PREFIX)/share

.PHONY: install
install: build ## build, and install into PREFIX (/usr/local for root, else ~/.local), with man pages and completions
	mkdir -p $(DESTDIR)$(PREFIX)/bin
	install -m 755 bin/keyway$(EXE) $(DESTDIR)$(PREFIX)/bin/keyway$(EXE)
	bin/keyway$(EXE) man $(DESTDIR)$(PREFIX)/share/man/man1
	mkdir -p $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	bin/keyway$(EXE) completion bash > $(SHARE)/bash-completion/completions/keyway
	bin/keyway$(EXE) completion zsh > $(SHARE)/zsh/site-functions/_keyway
	bin/keyway$(EXE) completion fish > $(SHARE)/fish/vendor_completions.d/keyway.fish
	@case ":$$PATH:" in *":$(PREFIX)/bin:"*) ;; *) \
		echo "$(PREFIX)/bin is not on your PATH; in your shell's profile: export PATH=\"$(PREFIX)/bin:\$$PATH\"";; esac
	@echo "installed $(DESTDIR)$(PREFIX)/bin/keyway$(EXE); next: keyway init"

.PHONY: uninstall
uninstall: ## remove what make install has put into PREFIX; configuration, keys and logs stay
	rm -f $(DESTDIR)$(PREFIX)/bin/keyway$(EXE) $(SHARE)/man/man1/keyway.1 $(SHARE)/man/man1/keyway-*.1 \
		$(SHARE)/bash-completion/completions/keyway $(SHARE)/zsh/site-functions/_keyway $(SHARE)/fish/vendor_completions.d/keyway.fish

.PHONY: demo
demo: goversion ## show it all on this machine: bastion, GPU host, one unlock, a job that survives
	test/lab/install demo
	@$(WAITING) "building the demo" $(GO) build -o $(DIST)/demo ./test/demo
	@$(DIST)/demo

.PHONY: demo-notebook
demo-notebook: goversion ## show a notebook's cell that outlives its page and the bastion
	test/lab/install notebook
	@$(WAITING) "building the demo" $(GO) build -o $(DIST)/demo ./test/demo
	@$(DIST)/demo notebook

.PHONY: demo-pytorch
demo-pytorch: ## show a training with PyTorch that outlives its bastion, and is resumed from its checkpoint
	test/lab/install pytorch
	$(GO) run ./test/demo pytorch

.PHONY: demo-picture
demo-picture: ## record make demo and make demo-notebook as the animated pictures of the README
	$(GO) run ./test/record/picture docs/demo.svg make demo
	$(GO) run ./test/record/picture docs/demo-notebook.svg make demo-notebook

.PHONY: eight-hours
eight-hours: ## keep what progress bars of eight hours say: 3,000,000 updates (2 minutes)
	KEYWAY_EIGHT_HOURS=1 $(GO) test -v -run TestEightHoursOfBars ./internal/jupyter/journal

.PHONY: test
test: goversion ## run every test (installs what it needs: root on Debian)
	test/lab/install test
	$(MAKE) --no-print-directory vet size
	GO=$(GO) test/lab/suite $(LONGEST) ./...

# The packages whose tests take minutes begin first, in this order. The first and the third mostly
# wait for daemons.
LONGEST = ./internal/engine/docker ./test/e2e ./internal/session/words ./test/faults ./cmd/keyway ./test/hostile ./test/agent

.PHONY: mutants
mutants: ## break each security claim in turn, and see that a test notices (ONLY=guest: those)
	test/lab/install test
	$(GO) run ./test/mutants -only "$(ONLY)"

SEED   ?= $(shell date +%s)
EVENTS ?= 1000000000

.PHONY: simulate
simulate: ## drive two ends of a stream through EVENTS (10^9) events; SEED repeats a failure
	$(GO) test ./internal/stream -run '^TestSimulation$$' -v -timeout 0 -args -seed $(SEED) -events $(EVENTS)

REQUESTS ?= 1000000

.PHONY: leases
leases: ## lend 8 GPUs to 100 people REQUESTS (1000000) times, with kills and lost machines, in a simulation
	$(GO) test ./internal/gpu -run '^TestSimulation$$' -v -timeout 0 -args -requests $(REQUESTS) -seeds 10

.PHONY: nvidia
nvidia: ## test GPUs under NVIDIA's own container runtime, which is built for that (needs the internet)
	test/lab/install test
	$(GO) vet -tags nvidia ./internal/engine/docker
	$(GO) test -tags nvidia ./internal/engine/docker -run '^TestNVIDIARuntime$$' -v -timeout 20m

.PHONY: jupyterlab
jupyterlab: $(DIST)/jupyter-trixie.whole $(DIST)/jupyter-testing.whole ## test JupyterLab 4 and Notebook 7 in Chromium, with the packages of Debian 13 and testing (needs root, debootstrap and the internet)
	test/lab/install test
	$(GO) vet -tags jupyterlab ./cmd/keyway-jupyter
	for suite in trixie testing; do \
		KEYWAY_JUPYTERLAB=$(abspath $(DIST))/jupyter-$$suite $(GO) test -tags jupyterlab ./cmd/keyway-jupyter -run '^TestJupyterLab$$' -v || exit 1; done

$(DIST)/jupyter-trixie.whole: PACKAGES = jupyterlab
$(DIST)/jupyter-testing.whole: PACKAGES = jupyterlab jupyter-notebook
$(DIST)/jupyter-%.whole:
	rm -rf --one-file-system $(DIST)/jupyter-$*
	mkdir -p $(DIST)
	debootstrap --variant=minbase $* $(DIST)/jupyter-$*
	chroot $(DIST)/jupyter-$* sh -c 'mount -t proc proc /proc && trap "umount /proc" EXIT && apt-get install -y --no-install-recommends $(PACKAGES) python3-ipykernel'
	touch $@

SOAK ?= 1h
PACE ?= 0s

.PHONY: soak
soak: ## kill bastion, node and ssh, then the mux, at random under everything, each for SOAK (1h); PACE=20s: the mux at leisure
	test/lab/install test
	$(GO) test ./test/faults -run '^TestKillAtRandom$$' -v -timeout 0 -args -duration $(SOAK)
	KEYWAY_SOAK=$(SOAK) KEYWAY_PACE=$(PACE) $(GO) test ./test/mux -run '^TestSoak$$' -v -count 1 -timeout 0

.PHONY: bench
bench: goversion ## measure against stock OpenSSH; rewrites docs/BENCHMARKS.md (ONLY=connect: that section)
	test/lab/install bench
	$(GO) run ./test/bench -only "$(ONLY)"

.PHONY: vet
vet: ## go vet for every system that keyway is built for
	@# compiled as for the tests, and for a release, which need the same packages
	$(GO) vet $$($(GO) env CGO_ENABLED | sed -n s/1/-race/p) ./...
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) vet $(COMPILE) ./...
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) vet $(COMPILE) ./...

.PHONY: lint
lint: vet ## run golangci-lint
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...

.PHONY: static
static: ## run staticcheck, the part of the linter that compiles in a minute
	@# without cgo, as the tests have compiled the programs that they run
	CGO_ENABLED=0 $(GO) tool -modfile=tools/go.mod staticcheck ./...

.PHONY: reproduce
reproduce: build ## build bin/keyway again, elsewhere and without a cache, and compare
	test/reproduce $(VERSION)

.PHONY: vuln
vuln: ## ask the Go vulnerability database about what is linked in (needs the internet)
	$(GO) tool -modfile=tools/go.mod govulncheck ./...

.PHONY: fuzz
fuzz: ## fuzz every parser for FUZZTIME (20s) each
	@set -e; program="$$(mktemp)"; cache="$$($(GO) env GOCACHE)/fuzz"; trap 'rm -f "$$program"' EXIT; \
	grep -rl '^func Fuzz' --include='*_test.go' cmd internal test | xargs -n 1 dirname | sort -u | while read -r package; do \
		CGO_ENABLED=0 $(GO) test -c -vet=off -fuzz . -o "$$program" "./$$package"; \
		grep -ho '^func Fuzz[A-Za-z0-9_]*' "$$package"/*_test.go | sort | while read -r func target; do \
			echo "./$$package $$target"; \
			(cd "$$package" && exec "$$program" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) -test.fuzzcachedir "$$cache/keyway/$$package" </dev/null); \
		done; \
	done

# A release is built in three stages, because programs carry others: guests, then
# the nodes, each with the guest of its own architecture, then the keyway for each
# system, which carries both nodes, and the keyway-jupyter for both architectures.
.PHONY: release
release: nodes $(addprefix release-,$(subst /,-,$(PLATFORMS))) ## build keyway for every system into dist/
	@cd $(DIST) && { sha256sum keyway-* 2>/dev/null || shasum -a 256 keyway-*; } > SHA256SUMS && cat SHA256SUMS

.PHONY: nodes
nodes: node-amd64 node-arm64 jupyter-amd64 jupyter-arm64

guest-%:
	GOOS=linux GOARCH=$* $(BUILD) -o $(DIST)/guest-linux-$* ./cmd/keyway-guest
	$(PACK) $(DIST)/guest-linux-$* internal/assets/guest-linux-$*

node-%: guest-%
	GOOS=linux GOARCH=$* $(BUILD) -tags embed_guest -o $(DIST)/node-linux-$* ./cmd/keyway-node
	$(PACK) $(DIST)/node-linux-$* internal/assets/node-linux-$*

# It speaks HTTP/1 only: websockets, and Jupyter servers. HTTP/2 would be 500 kB more.
jupyter-%:
	GOOS=linux GOARCH=$* $(BUILD) -tags nethttpomithttp2 -o $(DIST)/jupyter-linux-$* ./cmd/keyway-jupyter
	$(PACK) $(DIST)/jupyter-linux-$* internal/assets/jupyter-linux-$*

release-%: nodes
	GOOS=$(word 1,$(subst -, ,$*)) GOARCH=$(word 2,$(subst -, ,$*)) $(BUILD) -tags $(call tags,amd64 arm64) \
		-o $(DIST)/keyway-$*$(if $(findstring windows,$*),.exe) ./cmd/keyway

.PHONY: size
size: release ## build a release and check how large its programs are
	$(GO) test -tags embed_guest,$(call tags,amd64 arm64) ./internal/assets
	@test/size $(MAX_KEYWAY) $(DIST)/keyway-*
	@test/size $(MAX_NODE) $(DIST)/node-*
	@test/size $(MAX_GUEST) $(DIST)/guest-*
	@test/size $(MAX_JUPYTER) $(DIST)/jupyter-*
	@test/size $(MAX_JUPYTER_PACKED) internal/assets/jupyter-*.gz

.PHONY: clean
clean: ## remove what was built
	rm -rf bin $(DIST) internal/assets/*.gz internal/assets/*.sha256
