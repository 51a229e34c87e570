# A thin front: meson does the work, ci/ holds the checks. WERROR=false for compilers newer than ours.
WERROR ?= true
PREFIX ?= /usr/local
DESTDIR ?=
MESON_SETUP = meson setup -Dwerror=$(WERROR)
AGENT = build/share/agent/x86_64-linux/bin/belay-agent

all: build

packages:
	@ci/install-packages build

# belay, the static agent and one with fault injection points, each with the folder that belay reads.
build: packages
	@test -f build/build.ninja || CC=gcc $(MESON_SETUP) --prefix=$(PREFIX) build
	@test -f build/agent/build.ninja || $(MESON_SETUP) --native-file ci/musl.ini \
	  -Dagent_only=true --buildtype=minsize build/agent
	@test -f build/agent-points/build.ninja || $(MESON_SETUP) --native-file ci/musl.ini \
	  -Dagent_only=true -Dpoints=true --buildtype=minsize build/agent-points
	ninja -C build
	ninja -C build/agent
	ninja -C build/agent-points
	@ci/stage build/agent build/share
	@ci/stage build/agent-points build/share-points

demo: build
	@ci/install-packages build testbed
	BELAY=$(CURDIR)/build/belay BELAY_DATADIR=$(CURDIR)/build/share tests/testbed/demo

# The last line says how many tests passed, failed and were skipped; check-fast leaves the hosts out.
check check-fast:
	@ci/install-packages build testbed vm check
	@ci/check $(if $(filter check-fast,$@),--fast)

# Every row of the fault matrix and its sweeps: every kill point with every fault, 300 deployments that
# are interrupted at random, 60 pairs of faults, mutants of the C code. Outcomes go into
# tests/faults/README.md. Before all that, copies of 20,000 paths, 100,000 files and 5 GiB. Hours.
sweep: build
	@ci/install-packages build testbed
	BELAY_LARGE=1 CMOCKA_MESSAGE_OUTPUT=TAP build/tests/nix-send
	BELAY_BUILD=$(CURDIR)/build tests/faults/run --all --record

# Virtual machines without hardware help: about an hour. VM_JOBS=1 where processors are few.
check-vm: build
	@ci/install-packages build testbed vm
	meson setup --reconfigure build > /dev/null
	meson test -C build --suite vm --print-errorlogs --num-processes $${VM_JOBS:-2}

bench: build
	@ci/install-packages build testbed
	BELAY=$(CURDIR)/build/belay BELAY_DATADIR=$(CURDIR)/build/share bench/deploy/run
	BELAY=$(CURDIR)/build/belay BELAY_DATADIR=$(CURDIR)/build/share bench/evaluate/run
	BENCH_DELTA=$(CURDIR)/build/tests/bench-delta bench/delta/run --level-10
	BELAY=$(CURDIR)/build/belay BELAY_DATADIR=$(CURDIR)/build/share BENCH_CLOSURE=$(CURDIR)/build/tests/bench-closure \
	  bench/copy/run

install: build
	meson configure build --prefix=$(PREFIX)
	DESTDIR=$(DESTDIR) meson install -C build
	install -D -m 755 $(AGENT) $(DESTDIR)$(PREFIX)/share/belay/agent/x86_64-linux/bin/belay-agent

clean:
	rm -rf build build-asan build-clang build-fuzz

.PHONY: all packages build demo check check-fast check-vm sweep bench install clean
