# mote's builds, images and tests. `make help` lists what there is. Everything made goes below target/; each target runs
# the part of setup.sh that it needs.

BOARD ?= generic
ARCH ?= x86_64
ARCHES := x86_64 aarch64
HOST := $(shell uname -m)

export BOARD
.DELETE_ON_ERROR:
.PHONY: all help plain debug size bundle image demo-images qemu-images demo run test test-engines engines fuzz soak bench bench-boot bench-many bench-restart bench-seccomp docs lint clean setup-qemu FORCE

all: $(ARCHES:%=target/dist/%/mote) target/dist/mote ## The shipping binary of each architecture: target/dist/<arch>/mote

help: ## This list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12
	@echo "Variables: BOARD=$(BOARD), ARCH=$(ARCH) (of: $(ARCHES))"

setup-qemu:
	@./setup.sh qemu

# Which toolchain builds. Made before anything else, and read again only when it changed.
ifneq ($(filter-out help clean,$(or $(MAKECMDGOALS),all)),)
target/toolchain.env: FORCE
	@./setup.sh build
-include target/toolchain.env
endif

# ---- binaries -----------------------------------------------------------------------------------------------------
# Three flavours, each with a cargo directory of its own so that they do not evict each other:
#   small  ships; std built for size, a panic aborts without a message, so nothing unwinds or needs source locations
#   plain  the ordinary release profile, for who has no nightly features; tested as the small one is
#   debug  with debug assertions and panic messages, for the tests
# Cargo always runs, as only it knows what changed; the copy, on which images depend, is renewed when it differs.

small_cargo := --release -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size$(BUILD_STD_FEATURES)
small_rustflags := -Zunstable-options -Cpanic=immediate-abort -Cforce-unwind-tables=no -Zlocation-detail=none -Zfmt-debug=none -Clink-arg=-zpack-relative-relocs -Crelocation-model=static -Cllvm-args=-enable-machine-outliner
plain_cargo := --release $(PLAIN_CARGO_FLAGS)
debug_cargo := $(PLAIN_CARGO_FLAGS)

# $(call build,FLAVOUR,ARCH,PROFILE DIRECTORY): builds, checks that the result is static, copies it to $@.
define build
	@echo "  BUILD   $@"
	@mkdir -p $(@D)
	@RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/build/$1 RUSTFLAGS="$($1_rustflags) $(if $(filter small,$1),$(SMALL_$2)) $(RUSTFLAGS_$2)" \
		$(CARGO) build --quiet --locked --bin mote --target $2-unknown-linux-musl $($1_cargo)
	@if readelf -lWd target/build/$1/$2-unknown-linux-musl/$3/mote | grep -E 'INTERP|NEEDED'; then \
		echo "$@ is not static" >&2; exit 1; fi
	@cmp -s target/build/$1/$2-unknown-linux-musl/$3/mote $@ || cp target/build/$1/$2-unknown-linux-musl/$3/mote $@
endef

target/dist/%/mote: FORCE
	$(call build,small,$*,release)

target/plain/%/mote: FORCE
	$(call build,plain,$*,release)

target/debug-dist/mote: FORCE
	$(call build,debug,$(HOST),debug)

target/dist/mote: target/dist/$(HOST)/mote
	@cmp -s $< $@ || cp $< $@

plain: $(ARCHES:%=target/plain/%/mote) ## Without build-std: target/plain/<arch>/mote

debug: target/debug-dist/mote ## For the tests, with panic messages: target/debug-dist/mote

size: all plain ## Bytes of every binary; fails over the board's budget
	@tools/size $(ARCHES)

# ---- bundles, images, devices -------------------------------------------------------------------------------------

RUN_AS ?= 0:0
MANIFESTS ?=
MODULES ?=

bundle: | setup-qemu ## NAME=... PACKAGES=... ARGS=... [RUN_AS=uid:gid] [OVERLAY=dir]: target/bundles/<arch>/<name>/
	@tools/bundle --arch $(ARCH) --name "$(NAME)" --packages "$(PACKAGES)" --args '$(ARGS)' --user $(RUN_AS) \
		$(if $(OVERLAY),--overlay "$(OVERLAY)")

image: target/dist/$(ARCH)/mote | setup-qemu ## BOARD=... [MANIFESTS=...], JSON or YAML, [MODULES=...]: target/image/<arch>/kernel and initramfs.cpio
	@tools/image --arch $(ARCH) --board $(BOARD) --mote $< --out target/image/$(ARCH) $(MODULES:%=--module %) $(MANIFESTS)
	@echo "  IMAGE   target/image/$(ARCH)"

image_tools := $(addprefix tools/,image manifest.py modules.py cpio.py debian.py)

# The pod of the demo: what an IoT gateway runs, from Debian's packages.
broker_packages := mosquitto
broker_args := /usr/sbin/mosquitto -c /etc/mosquitto/gateway.conf
broker_user := 1883:1883
sensor_packages := mosquitto-clients dash coreutils:/bin/sleep
sensor_args := /usr/bin/sensor
sensor_user := 1000:1000

# $(call demo_bundle,ARCH,NAME)
define demo_bundle
target/bundles/$1/$2/config.json: tools/bundle tools/config.json tools/debian.py $(shell find demo/$2 -type f) | setup-qemu
	@echo "  BUNDLE  target/bundles/$1/$2"
	@tools/bundle --arch $1 --name $2 --packages "$($2_packages)" --args "$($2_args)" --user $($2_user) --overlay demo/$2
endef
$(foreach arch,$(ARCHES),$(foreach name,broker sensor,$(eval $(call demo_bundle,$(arch),$(name)))))

target/demo/%/initramfs.cpio: target/dist/%/mote demo/gateway.json $(image_tools) \
		$(shell find board -type f) target/bundles/%/broker/config.json target/bundles/%/sensor/config.json
	@echo "  IMAGE   target/demo/$*"
	@tools/image --arch $* --board $(BOARD) --mote $< --out target/demo/$* demo/gateway.json

.PRECIOUS: target/bundles/%/probe/config.json
# A device that is watched from the inside: tests/qemu/device.
target/bundles/%/probe/config.json: tools/bundle tools/config.json tools/debian.py | setup-qemu
	@echo "  BUNDLE  target/bundles/$*/probe"
	@tools/bundle --arch $* --name probe --packages busybox-static --args /bin/busybox

# What makes system calls in it and says what came of them, with the C compiler of each architecture.
.PRECIOUS: target/qemu/%/overlay/test/probe
target/qemu/%/overlay/test/probe: tests/seccomp/probe.c tests/cgroup/delegate.c tests/qemu/clients.c \
		$(shell find tests/qemu/device -type f) | setup-qemu
	@echo "  OVERLAY target/qemu/$*/overlay"
	@rm -rf target/qemu/$*/overlay && mkdir -p target/qemu/$* && cp -r tests/qemu/device target/qemu/$*/overlay
	@$*-linux-gnu-gcc -O1 -static -o $@ $<
	@$*-linux-gnu-gcc -O1 -static -o $(@D)/delegate tests/cgroup/delegate.c
	@$*-linux-gnu-gcc -O1 -static -o $(@D)/clients tests/qemu/clients.c

# Disks and a scheduler for them, what a bundle on one takes, and a watchdog of the kernel's own.
QEMU_MODULES := null_blk brd bfq virtio_pci virtio_blk overlay softdog

target/qemu/%/initramfs.cpio: target/dist/%/mote $(image_tools) $(shell find board -type f) \
		target/qemu/%/overlay/test/probe target/bundles/%/probe/config.json tests/qemu/web.yaml
	@echo "  IMAGE   target/qemu/$*"
	@tools/image --arch $* --board $(BOARD) --mote $< --out target/qemu/$* --overlay target/qemu/$*/overlay --bundle probe \
		$(QEMU_MODULES:%=--module %) tests/qemu/web.yaml

# A disk with the bundle and a manifest.
target/qemu/%/disk.img: target/bundles/%/probe/config.json tests/qemu/disk.json
	@echo "  DISK    target/qemu/$*"
	@rm -rf target/qemu/$*/disk && mkdir -p target/qemu/$*/disk/bundles target/qemu/$*/disk/manifests
	@cp -a target/bundles/$*/probe target/qemu/$*/disk/bundles/
	@mkdir -p target/qemu/$*/disk/bundles/probe/rootfs/etc && echo below >target/qemu/$*/disk/bundles/probe/rootfs/etc/mark
	@cp tests/qemu/disk.json target/qemu/$*/disk/manifests/
	@truncate -s 24M $@.new
	@PATH=$$PATH:/sbin:/usr/sbin mke2fs -q -F -t ext4 -d target/qemu/$*/disk $@.new && mv $@.new $@

qemu-images: $(ARCHES:%=target/qemu/%/initramfs.cpio) $(ARCHES:%=target/qemu/%/disk.img)

demo-images: $(ARCHES:%=target/demo/%/initramfs.cpio)

demo: target/demo/$(ARCH)/initramfs.cpio ## Boots a device with a pod of two containers in QEMU, shows it, powers it off
	@tools/demo $(ARCH)

run: target/demo/$(ARCH)/initramfs.cpio ## The same with the console on this terminal; Ctrl-A X ends QEMU
	@tools/qemu --arch $(ARCH) --image target/demo/$(ARCH) --interactive

# ---- checks -------------------------------------------------------------------------------------------------------

test: ## Everything there is to check, and one line that sums it up
	@tools/test

test-engines: target/dist/mote ## Podman, containerd and Docker with mote, in namespaces of their own
	@./setup.sh engines
	@tests/engines/run --mote target/dist/mote --runtimes mote

engines: target/dist/mote ## The same with runc and crun too; writes the table of docs/engines.md
	@./setup.sh engines
	@tests/engines/run --mote target/dist/mote --write docs/engines.md

SECONDS ?= 600
fuzz: ## The parser, the planner and the seccomp compiler on any bytes, SECONDS=600 each; needs a nightly toolchain
	@tools/fuzz $(SECONDS) parse plan seccomp

soak: target/dist/mote ## The tests that count, in full: 1,000 rounds of a life, 10,000 runs, 10,000 mutated configs
	@./setup.sh test
	MOTE_SOAK_ROUNDS=1000 MOTE_SOAK_RUNS=10000 MOTE_CASES=10000 MOTE_BIN=target/dist/mote \
		$(CARGO) test --locked --test soak --test property -- --nocapture

bench: target/dist/mote ## mote, runc, crun and the least possible, measured in one run; draws docs/bench.svg
	@./setup.sh bench
	@benches/run

bench-boot: target/dist/$(ARCH)/mote ## "Run /init" to the first container's first instruction, in QEMU, against a C init
	@./setup.sh bench
	@benches/boot --arch $(ARCH)

bench-many: target/dist/mote ## What one container costs when there are 10, and when there are 500
	@benches/many

bench-seccomp: target/dist/mote ## getppid(2) in a loop under Docker's profile, mote and crun in one run
	@./setup.sh bench
	@benches/seccomp

bench-restart: target/dist/mote target/dist/$(ARCH)/mote ## How soon a container that died runs again, beside `mote run` of the same bundle; here and in QEMU
	@./setup.sh bench
	@benches/restart
	@benches/restart --qemu $(ARCH)

docs: target/docs/mote.8 ## The man page: target/docs/mote.8

target/docs/%.8: docs/%.8.md
	@./setup.sh docs
	@mkdir -p $(@D)
	@go-md2man -in $< -out $@
	@echo "  DOCS    $@"

lint: ## rustfmt and clippy for the host and both targets
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --locked --all-targets -- -D warnings
	$(foreach arch,$(ARCHES),$(CARGO) clippy --quiet --locked --target $(arch)-unknown-linux-musl -- -D warnings$(newline))

clean: ## Removes target/
	rm -rf target

define newline


endef
