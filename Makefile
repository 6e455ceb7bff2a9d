# mote's builds, images and tests. `make help` lists what there is. Everything made goes below target/; each target runs
# the part of setup.sh that it needs.

BOARD ?= generic
ARCH ?= x86_64
ARCHES := x86_64 aarch64
HOST := $(shell uname -m)

export BOARD
.DELETE_ON_ERROR:
.PHONY: all help plain debug size lint clean setup-% FORCE

all: $(ARCHES:%=target/dist/%/mote) target/dist/mote ## The shipping binary of each architecture: target/dist/<arch>/mote

help: ## This list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12
	@echo "Variables: BOARD=$(BOARD) ARCH=$(ARCH)"

setup-%:
	@./setup.sh $*

# Which toolchain builds. Made before anything else, and read again only when it changed.
ifneq ($(filter-out help clean,$(or $(MAKECMDGOALS),all)),)
target/toolchain.env: FORCE
	@./setup.sh build
-include target/toolchain.env
endif

# ---- binaries -----------------------------------------------------------------------------------------------------
# Three flavours, each with a cargo directory of its own so that they do not evict each other:
#   small  ships; std built for size, a panic aborts without a message
#   plain  the ordinary release profile, for who has no nightly features; tested as the small one is
#   debug  with debug assertions and panic messages, for the tests
# Cargo always runs, as only it knows what changed; the copy, on which images depend, is renewed when it differs.

small_cargo := --release -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size
small_rustflags := -Zunstable-options -Cpanic=immediate-abort
plain_cargo := --release $(PLAIN_CARGO_FLAGS)
debug_cargo := $(PLAIN_CARGO_FLAGS)

# $(call build,FLAVOUR,ARCH,PROFILE DIRECTORY): builds, checks that the result is static, copies it to $@.
define build
	@echo "  BUILD   $@"
	@mkdir -p $(@D)
	@RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/build/$1 RUSTFLAGS="$($1_rustflags) $(RUSTFLAGS_$2)" \
		$(CARGO) build --quiet --locked --bin mote --target $2-unknown-linux-musl \
		$($1_cargo)$(if $(findstring build-std-f,$($1_cargo)),$(BUILD_STD_FEATURES_$2))
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

lint: ## rustfmt and clippy for the host and both targets
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --locked --all-targets -- -D warnings
	$(foreach arch,$(ARCHES),$(CARGO) clippy --quiet --locked --target $(arch)-unknown-linux-musl -- -D warnings$(newline))

clean: ## Removes target/
	rm -rf target

define newline


endef
