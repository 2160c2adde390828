# What a distribution packager expects; `make help` lists it.

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
PAGES := build/pages
DOCDIR ?= $(PREFIX)/share/doc/richrun

CARGO ?= cargo
INSTALL ?= install
CARGO_TARGET_DIR ?= target
TRIPLE := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
RELEASE := $(CARGO_TARGET_DIR)/$(TRIPLE)/release
DIRECT := $(CARGO_TARGET_DIR)/$(TRIPLE)/bundles
RICHRUN_COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
export CARGO_TARGET_DIR RICHRUN_COMMIT

.DEFAULT_GOAL := all
.PHONY: all help build pages demo test test-unit test-blackbox test-differential test-engines test-systemd test-kubernetes test-vm test-long \
	fuzz mutants audit dist deb bench install install-documents uninstall fmt lint doc clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

all: build pages ## build and pages

build: ## the static release binaries: richrun, rich-init, richctl, rich-monitor
	$(CARGO) build --release --locked --package richrun --package rich-init
	$(CARGO) build --profile bundles --locked --package rich-bundles --bins

pages: $(PAGES)/written ## manual pages and shell completions, into build/pages

# Written by the sources of the command lines: nothing is done when they are older.
$(PAGES)/written: $(wildcard integration/pages/src/*.rs docs/services.md docs/rich.md runtime/src/cli.rs runtime/src/cli/*.rs init/src/options.rs bundles/src/cli/*.rs bundles/src/cli/*/*.rs)
	$(CARGO) run --quiet --locked --package richrun-pages -- $(PAGES)
	@touch $@

demo: ## a rich container, step by step (as root or as you)
	$(CARGO) build --release --locked --package richrun --package richrun-demo
	@RICHRUN=$(RELEASE)/richrun integration/demo.sh

test: build ## everything but the long tests; installs what it needs when root
	@integration/test.sh

test-unit: ## the unit tests of all crates, and the layering check
	@integration/test.sh unit

test-blackbox: build ## the built binary: as root and as an ordinary user, cgroup v1 and v2
	@integration/test.sh blackbox

test-differential: build ## against runc and crun
	@integration/test.sh differential

test-engines: build ## under podman, Docker and containerd
	@integration/test.sh engines

test-systemd: build ## engines on hosts where systemd manages the cgroups: all trials, and the tables of docs/engines.md
	@SYSTEMD_TRIALS=all SYSTEMD_HOSTS="$${SYSTEMD_HOSTS:-trixie forky}" integration/test.sh systemd

test-kubernetes: build ## pods of a real Kubernetes; the first run builds it from Debian's source
	@integration/test.sh kubernetes

test-vm: build ## in a virtual machine (emulated: minutes) whose systemd and kernel have all controllers
	@integration/test.sh vm

test-long: build ## 10 000 runs, and all that takes minutes
	@integration/test.sh long

fuzz: ## the readers of foreign bytes under libFuzzer, FUZZ_SECONDS each (60); needs g++
	@integration/fuzz.sh

mutants: ## small changes of plan and config, which unit tests must notice (cargo-mutants; MUTANTS_FILES, MUTANTS_SECONDS)
	@integration/mutants.sh

audit: ## licences, sources and advisories of everything linked in (cargo-deny)
	@integration/audit.sh

dist: ## the release archive with its bill of materials, built twice and compared, into build/dist
	@integration/dist.sh --twice

deb: build pages ## a Debian package of what is built, into build/dist; needs dpkg-deb
	@integration/deb.sh

bench: build ## side by side with the kernel's floor, other runtimes, systemd-nspawn and other inits: build/bench/results.md
	@RICHRUN=$(RELEASE)/richrun integration/bench/run.sh

# What README links to, in the same places beside it.
install-documents:
	$(INSTALL) -d $(DESTDIR)$(DOCDIR)/docs $(DESTDIR)$(DOCDIR)/tests
	$(INSTALL) -m 644 README.md SPECIFICATION.md CHANGELOG.md LICENSE $(DESTDIR)$(DOCDIR)/
	$(INSTALL) -m 644 $(wildcard docs/*.md docs/*.json docs/*.svg) $(DESTDIR)$(DOCDIR)/docs/
	$(INSTALL) -m 644 tests/compliance.md $(DESTDIR)$(DOCDIR)/tests/
	for file in $$(find bundles/examples integration/setup -name rootfs -prune -o -type f -print); do \
		mode=644; [ ! -x $$file ] || mode=755; \
		$(INSTALL) -D -m $$mode $$file $(DESTDIR)$(DOCDIR)/$$file || exit 1; \
	done

install: build pages install-documents ## to $(DESTDIR)$(PREFIX)
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man8 $(DESTDIR)$(MANDIR)/man7 $(DESTDIR)$(MANDIR)/man5 \
		$(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR)
	$(INSTALL) -m 755 $(RELEASE)/richrun $(RELEASE)/rich-init $(DESTDIR)$(BINDIR)/
	ln -sf richrun $(DESTDIR)$(BINDIR)/richrun-rich
	$(INSTALL) -m 755 $(DIRECT)/richctl $(DIRECT)/rich-monitor $(DESTDIR)$(BINDIR)/
	$(INSTALL) -m 644 $(PAGES)/man8/*.8 $(DESTDIR)$(MANDIR)/man8/
	$(INSTALL) -m 644 $(PAGES)/man7/*.7 $(DESTDIR)$(MANDIR)/man7/
	$(INSTALL) -m 644 $(PAGES)/man5/*.5 $(DESTDIR)$(MANDIR)/man5/
	$(INSTALL) -m 644 $(PAGES)/bash/richrun $(PAGES)/bash/richctl $(DESTDIR)$(BASHDIR)/
	$(INSTALL) -m 644 $(PAGES)/zsh/_richrun $(PAGES)/zsh/_richctl $(DESTDIR)$(ZSHDIR)/
	$(INSTALL) -m 644 $(PAGES)/fish/richrun.fish $(PAGES)/fish/richctl.fish $(DESTDIR)$(FISHDIR)/

uninstall: ## what install put there
	rm -f $(DESTDIR)$(BINDIR)/richrun $(DESTDIR)$(BINDIR)/richrun-rich $(DESTDIR)$(BINDIR)/rich-init \
		$(DESTDIR)$(BINDIR)/richctl $(DESTDIR)$(BINDIR)/rich-monitor
	rm -f $(DESTDIR)$(MANDIR)/man8/richrun.8 $(DESTDIR)$(MANDIR)/man8/richrun-*.8 \
		$(DESTDIR)$(MANDIR)/man8/richctl.8 $(DESTDIR)$(MANDIR)/man8/richctl-*.8 \
		$(DESTDIR)$(MANDIR)/man8/rich-init.8 $(DESTDIR)$(MANDIR)/man8/rich-monitor.8 $(DESTDIR)$(MANDIR)/man5/richrun.toml.5 \
		$(DESTDIR)$(MANDIR)/man5/richrun-services.5 $(DESTDIR)$(MANDIR)/man7/rich.7
	rm -f $(DESTDIR)$(BASHDIR)/richrun $(DESTDIR)$(ZSHDIR)/_richrun $(DESTDIR)$(FISHDIR)/richrun.fish
	rm -f $(DESTDIR)$(BASHDIR)/richctl $(DESTDIR)$(ZSHDIR)/_richctl $(DESTDIR)$(FISHDIR)/richctl.fish
	rm -rf $(DESTDIR)$(DOCDIR)

fmt: ## format the code
	$(CARGO) fmt --all

lint: ## format check, clippy and documentation, warnings denied; shellcheck where it is installed
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --document-private-items
	@if command -v shellcheck >/dev/null; then integration/shellcheck.sh; else echo 'shellcheck is not installed: skipped'; fi

doc: ## the code's documentation
	$(CARGO) doc --workspace --no-deps

clean: ## what was built
	$(CARGO) clean
	rm -rf build
