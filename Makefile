# make build   the programs, as they are shipped, in $CARGO_TARGET_DIR/dist
# make install the programs, their manual, completions and a systemd unit, below PREFIX (/usr/local); make uninstall
# make image   the container image, by buildah, podman or docker
# make deb     the Debian package, in $CARGO_TARGET_DIR/packages; make release: that, an archive, checksums and an SBOM
# make book    the documentation as a site, in $CARGO_TARGET_DIR/book
# make check-deploy  image, manifests, package, dashboards and the documents' commands, by the tools that know them
# make demo-compose  three members and two scanners in containers, where docker or podman-compose is
# make demo    three nodes on this machine, a scan, the leader killed in the middle of it
# make test    every test, in network namespaces of their own
# make bench   the measurements of docs/BENCHMARKS.md
# make fuzz    every fuzz target for SECONDS (default 60), or FUZZ="answers log" these: docs/FUZZING.md
# make memcheck  the code with `unsafe` under valgrind: docs/FUZZING.md
# make chaos   nine nodes under kills, cuts, pauses, full disks and changes of members, for CHAOS_SECONDS (default 120) or
#              CHAOS_ROUNDS=200, CHAOS_SEED= repeats; before it the simulation: docs/ARCHITECTURE.md, "Simulation"
# make simulation  whole nodes in simulated time, 10,000 seeds or SEEDS=; SEED=17 runs one and prints what happened in it
# make api-check  the API of a node that runs against its own description, by schemathesis: docs/API.md
# make lint, fmt, docs
#
# One profile (--release) and one target folder for everything, so that RocksDB and the dependencies compile once
# per machine: docs/decisions/0002-one-build-profile.md. The first build takes about ten minutes on two cores.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c

export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin
export CARGO_TARGET_DIR ?= $(HOME)/.cache/pentora/target
export CARGO_BUILD_JOBS ?= $(shell nproc)

# Cargo compiles RocksDB again whenever these change, so they are the same two strings on every machine with ccache.
ifneq ($(shell command -v ccache),)
ifeq ($(origin CC),default)
export CC := ccache gcc
endif
ifeq ($(origin CXX),default)
export CXX := ccache g++
endif
endif

.PHONY: build prepare install uninstall image deb release book check-deploy demo-compose demo test bench chaos simulation api-check fuzz memcheck fmt lint docs

# What is shipped is in dist; cargo's own copy, with its symbols in it, has both its names as well.
build: prepare
	cargo build --release --workspace --bins
	@ln -sfn pentora-node "$$CARGO_TARGET_DIR/release/pentora"
	@deploy/strip.sh "$$CARGO_TARGET_DIR/release/pentora-node" "$$CARGO_TARGET_DIR/dist"

PREFIX ?= /usr/local
UNITDIR ?= $(PREFIX)/lib/systemd/system
INSTALL = PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" UNITDIR="$(UNITDIR)" DIST="$(DIST)" deploy/install.sh

# Root installs what a user built: under sudo nothing is built, and the programs are those in that user's folder.
# The same for a folder that is named: make install DIST=...
USER_HOME = $(if $(SUDO_USER),$(shell getent passwd "$(SUDO_USER)" | cut -d: -f6),$(HOME))
DIST ?= $(if $(filter file,$(origin CARGO_TARGET_DIR)),$(USER_HOME)/.cache/pentora/target,$(CARGO_TARGET_DIR))/dist
install: $(if $(SUDO_USER)$(filter command environment,$(origin DIST)),,build)
	@$(INSTALL) install

uninstall:
	@$(INSTALL) uninstall

# The names under which the original description starts containers are given to the image as well.
image: build
	@DIST="$$CARGO_TARGET_DIR/dist" ALSO="$(ALSO)" deploy/image/build.sh
ALSO ?= pentora/pentora-enterprise:latest

deb: build
	@DIST="$$CARGO_TARGET_DIR/dist" deploy/package.sh "$$CARGO_TARGET_DIR/packages"

release: build
	@DIST="$$CARGO_TARGET_DIR/dist" deploy/release.sh "$$CARGO_TARGET_DIR/packages"

book: build
	@DIST="$$CARGO_TARGET_DIR/dist" docs/build.sh "$$CARGO_TARGET_DIR/book"

check-deploy: build
	@DIST="$$CARGO_TARGET_DIR/dist" tests/deploy/all.sh

demo-compose: image
	@deploy/demo-compose.sh

prepare:
	@deploy/prepare.sh

demo: build
	@deploy/demo.sh

test: prepare
	@tests/run.sh

# `identify` and `plan` run in one process, `growth` and `workers` in one beside three members; they are not among those that run
# without a name. GROWTH is runs of `SCANNERS,TARGETS` or `SCANNERS,TARGETS,MOST` (targets a unit at most), QUIET the seconds for which
# scanners without work are watched before each: as they stand, all of it takes less than ten minutes.
PLAN = coordinator::plan::tests::a_round_over_many_jobs_and_workers_gives_each_worker_its_unit_in_the_order_of_the_queue
GROWTH ?= 10,1000000 100,10000000 300,100000000
QUIET ?= 60
WORKERS ?= 1,2,5,10,20
GROWS = tests/with-namespaces cargo test --release -p pentora-node --lib -- --nocapture --exact app::growth
bench: build
	@if [ "$(BENCH)" = identify ]; then cargo bench -p pentora-scanner --bench identify; \
	elif [ "$(BENCH)" = plan ]; then PENTORA_PLAN=$${PLAN:-10000,1000} cargo test --release -p pentora-node --lib -- --nocapture --exact $(PLAN); \
	elif [ "$(BENCH)" = growth ]; then PENTORA_GROWTH="$(GROWTH)" PENTORA_GROWTH_QUIET=$(QUIET) PENTORA_BIN_DIR="$$CARGO_TARGET_DIR/dist" \
	  $(GROWS)::scanners_of_one_process_join_over_real_sockets_and_do_a_job_to_its_end; \
	elif [ "$(BENCH)" = workers ]; then PENTORA_GROWTH_WORKERS=$(WORKERS) PENTORA_BIN_DIR="$$CARGO_TARGET_DIR/dist" $(GROWS)::more_workers_are_faster; else \
	  PENTORA_BIN_DIR="$$CARGO_TARGET_DIR/dist" tests/with-namespaces "$$CARGO_TARGET_DIR/release/pentora-bench" $(BENCH); fi

chaos: build simulation
	@PENTORA_BIN_DIR="$$CARGO_TARGET_DIR/dist" tests/with-namespaces "$$CARGO_TARGET_DIR/release/pentora-bench" chaos

# Other seeds each time; a failing one is printed with the command that repeats it.
SIMULATION = cargo test --release -p pentora-node --lib -- --nocapture --exact app::simulation
simulation: prepare
ifdef SEED
	PENTORA_SIMULATION=$(SEED): RUST_LOG=$${RUST_LOG:-info} $(SIMULATION)::one_seed_in_a_process_of_its_own
else
	PENTORA_SIMULATION_SEEDS=$${SEEDS:-10000} PENTORA_SIMULATION_FIRST=$${FIRST:-$$(date +%s)0000} \
	  $(SIMULATION)::whatever_goes_wrong_nothing_is_lost_or_counted_twice_and_the_work_is_done_in_the_end
endif

api-check: build
	@tests/api-check/run.sh

SECONDS ?= 60
fuzz: prepare
	@tests/fuzz.sh "$(SECONDS)" $(FUZZ)

memcheck:
	command -v valgrind >/dev/null || { echo "missing: valgrind (apt-get install valgrind)" >&2; exit 1; }
	cargo test --release -p pentora-scanner --lib --no-run
	tests/with-namespaces env CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind -q --error-exitcode=9 --suppressions=$(CURDIR)/scanner/memcheck.supp" \
	  cargo test --release -p pentora-scanner --lib -- --test-threads=1 io::raw packet

fmt:
	cargo fmt --all

lint:
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps
