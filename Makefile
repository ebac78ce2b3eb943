# The commands of the project. `make demo` and `make test` set up what they need by themselves: Python environments for
# the local cloud in the user's cache directory, and what cargo compiles in `target/`, as bare cargo and editors do.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
# One build at a time, in the order in which the checks are named.
.NOTPARALLEL:

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ebs-snapshots
# One set of Python environments for each set of pinned versions, so that checkouts of different ones share the cache.
VENVS := $(CACHE)/venvs-$(shell cat tests/local/requirements/*.txt | sha256sum | cut -c 1-12)
TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
# As SAM names architectures. The local cloud runs the functions as processes of this machine, so they are built from a
# copy of the template that names its architecture; it lies beside the template, whose paths are relative.
LOCAL_TEMPLATE := .template-local.yaml
# Apart from .aws-sam/build, so that `sam deploy` never takes what was built for the tests.
BUILT := .aws-sam/local
BINARIES = $(or $(CARGO_TARGET_DIR),target)/$(TARGET)/debug
ARCHITECTURE := $(if $(filter aarch64%,$(TARGET)),arm64,x86_64)
# The whole workspace, or one crate of it. What the SDK is compiled with is the same for both.
CARGO_FLAGS := --locked $(if $(CRATE),--package $(CRATE),--workspace)

CARGO_DENY := $(CACHE)/cargo-deny-0.20.2/bin/cargo-deny

SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-west-1 PATH="$(VENVS)/tools/bin:$$PATH" sam
RUFF := $(VENVS)/tools/bin/ruff
SHFMT := $(VENVS)/tools/bin/shfmt
comma := ,
say = @printf '\n== %s\n' "$(1)"

.PHONY: help
help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: demo
demo: environments build ## Run the whole system on this machine, on a sample fleet (KEEP=1: and keep it up).
	$(call say,The demo: a local cloud with a deployed stack and a sample fleet)
	@$(VENVS)/moto/bin/python tests/local/demo.py --venvs $(VENVS) $(if $(KEEP),--keep $(BINARIES)/ebs-snapshots)

.PHONY: cloud
cloud: environments build ## Keep a local cloud with the deployed stack up, to try things by hand.
	$(call say,A local cloud$(comma) until Ctrl-C)
	@$(VENVS)/moto/bin/python tests/local/playground.py --venvs $(VENVS)

.PHONY: measure
measure: environments build ## Print what a fault-free run costs in calls and transitions.
	$(call say,A fault-free run: 50 instances and 100 copies of 20 times PollSeconds each (some 8 minutes))
	@$(VENVS)/moto/bin/python tests/local/measure.py --venvs $(VENVS)

.PHONY: measure-verdicts
measure-verdicts: environments build ## Print what judging up to 100,000 snapshots takes.
	$(call say,Discover by itself on prepared pages (some 3 minutes))
	@$(VENVS)/moto/bin/python tests/local/measure_verdicts.py

.PHONY: measure-report
measure-report: environments build ## Print what the report of up to 10,000 volumes takes.
	$(call say,The report by itself on prepared pages (some 2 minutes))
	@$(VENVS)/moto/bin/python tests/local/measure_report.py

.PHONY: measure-verify
measure-verify: environments build ## Print what reading a snapshot of 16 TiB takes, and fail if that is more than 40 MB.
	$(call say,Verify by itself on prepared pages (some 3 minutes))
	@$(VENVS)/moto/bin/python tests/local/measure_verify.py --bootstrap $(BINARIES)/verify

.PHONY: measure-pace
measure-pace: environments build ## Print how fast 1,000 snapshots expire within EC2's request limits.
	$(call say,1000 due snapshots in one region (some 4 minutes))
	@$(VENVS)/moto/bin/python tests/local/measure_pace.py --venvs $(VENVS)

.PHONY: measure-slots
measure-slots: environments build ## Print how well the copy slots are used.
	$(call say,Copies of 3 and 20 and 200 times PollSeconds (some 10 minutes))
	@$(VENVS)/moto/bin/python tests/local/measure_copies.py slots --venvs $(VENVS)

.PHONY: measure-overlap
measure-overlap: environments build ## Print what two executions make of the same copies.
	$(call say,Two executions and ten messages put back by hand (some 4 minutes))
	@$(VENVS)/moto/bin/python tests/local/measure_copies.py overlap --venvs $(VENVS)

.PHONY: measure-cli
measure-cli: environments build ## Print what status and plan take of 10,000 volumes (PROGRAM=path: of another build).
	$(call say,The command line by itself on prepared pages (some 5 minutes without optimisation))
	@$(VENVS)/moto/bin/python tests/local/measure_cli.py --program $(or $(PROGRAM),$(BINARIES)/ebs-snapshots)

.PHONY: pictures
pictures: environments build ## Make the pictures of README anew, in docs/pictures.
	$(call say,Pictures of the demo (some 2 minutes))
	@$(VENVS)/moto/bin/python tests/local/pictures.py --venvs $(VENVS) --program $(BINARIES)/ebs-snapshots

.PHONY: soak
soak: environments build ## Make 300 copies to three regions with every fault and killed workers (SOAK_SEED=n again).
	$(call say,The soak (some 20 minutes))
	@SOAK_COPIES=$${SOAK_COPIES:-300} LOCAL_CLOUD_VENVS=$(VENVS) \
		cargo test $(CARGO_FLAGS) --test stories -- --test-threads=1 --nocapture all_faults

.PHONY: drill-load
drill-load: environments build ## Drill the backups of 200 volumes in three regions, some of them bad (some 3 minutes).
	$(call say,A drill over 200 volumes)
	@DRILL_VOLUMES=200 LOCAL_CLOUD_VENVS=$(VENVS) \
		cargo test $(CARGO_FLAGS) --test stories -- --test-threads=1 --nocapture of_a_fleet

.PHONY: test
test: format lint unit check check-report check-local build ## Run every check and every test; CI runs this.
	$(call say,The stories$(comma) and beside them the demo$(comma) small measurements$(comma) and the tests of make cloud and of the database scripts)
	@# The stories wait most of the time. What runs beside them is shown when they have ended.
	@log=$$(mktemp); result=0; \
	$(MAKE) --no-print-directory --keep-going beside > $$log 2>&1 & beside=$$!; \
	trap 'kill $$beside 2> /dev/null || true; cat $$log; rm -f $$log' EXIT; \
	$(MAKE) --no-print-directory stories || result=1; \
	wait $$beside || result=1; \
	exit $$result
	$(call say,All checks and tests passed)

# What takes long, and is not the stories.
.PHONY: beside
beside: check-cloud check-measures demo databases

.PHONY: format
format: environments ## Check the formatting.
	$(call say,Formatting)
	@cargo fmt --all --check
	@$(RUFF) format --check --quiet tests/local tests/databases

.PHONY: lint
lint: environments $(CARGO_DENY) ## Run clippy, ruff and shellcheck; warnings are errors.
	$(call say,Ruff)
	@$(RUFF) check --quiet tests/local tests/databases
	$(call say,shellcheck and shfmt)
	@# What is sourced is checked with what sources it.
	@scripts=$$($(SHFMT) --find .ci databases tests) && \
		$(SHFMT) --indent 4 --case-indent --diff $$scripts && \
		$(VENVS)/tools/bin/shellcheck --external-sources --check-sourced $$(grep --files-with-matches '^#!' $$scripts)
	$(call say,Clippy (the first time it reads the AWS SDK: some 5 minutes))
	@cargo clippy $(CARGO_FLAGS) --all-targets --quiet -- --deny warnings
	$(call say,Rust documentation)
	@RUSTDOCFLAGS='--deny warnings' cargo doc $(CARGO_FLAGS) --no-deps --quiet
	$(call say,Licences$(comma) sources and versions of the dependencies)
	@$(CARGO_DENY) --log-level error check licenses bans sources

.PHONY: audit
audit: $(CARGO_DENY) ## Check the dependencies for known vulnerabilities (fetches their database).
	$(call say,Advisories)
	@$(CARGO_DENY) check advisories

.PHONY: unit
unit: ## Run unit and property tests (CRATE=copy: of one crate).
	$(call say,Unit and property tests (the first time they compile the AWS SDK: some 10 minutes))
	@cargo test $(CARGO_FLAGS) --lib --bins --quiet
	@$(if $(filter-out domain,$(CRATE)),,cargo test --locked --package domain --doc --quiet)

.PHONY: build
build: environments $(BUILT)/template.yaml ## Build the functions for this machine, without optimisation, into .aws-sam/local.
	$(call say,Building the functions (the first time they compile the AWS SDK: some 10 minutes))
	@cargo build --workspace --locked --bins --quiet
	@# SAM is asked only where the template has changed, since it takes a while.
	@python3 tests/local/package.py $(BINARIES) $(BUILT)

# Built by cargo, not by zig, and not optimised, so that tests and functions share one build of the SDK.
$(BUILT)/template.yaml: template.yaml samconfig.toml Makefile | environments
	$(call say,Building the template with SAM (the first time it compiles the AWS SDK: some 10 minutes))
	@cargo build --workspace --locked --bins --quiet
	@trap 'rm -f $(LOCAL_TEMPLATE) .aws-sam.log' EXIT; \
	sed 's/^\( *Architectures: \)\[arm64\]$$/\1[$(ARCHITECTURE)]/' template.yaml > $(LOCAL_TEMPLATE); \
	grep -q '^ *Architectures: \[$(ARCHITECTURE)\]$$' $(LOCAL_TEMPLATE) || \
		{ echo 'template.yaml has no line "Architectures: [arm64]" to replace'; exit 1; }; \
	CARGO_LAMBDA_COMPILER=cargo SAM_BUILD_MODE=debug $(SAM) build --template-file $(LOCAL_TEMPLATE) \
		--build-dir $(BUILT) > .aws-sam.log 2>&1 || { cat .aws-sam.log; exit 1; }

.PHONY: release
release: environments ## Build the functions as they are deployed (arm64, optimised), and show their sizes.
	$(call say,Building the functions for AWS (some 20 minutes the first time))
	@rustup target add aarch64-unknown-linux-gnu
	@$(SAM) build
	@for function in .aws-sam/build/*/; do \
		printf '%-24s' "$$(basename $$function)"; \
		python3 -c 'import sys, zlib; b = open(sys.argv[1] + "bootstrap", "rb").read(); print({0xB7: "aarch64", 0x3E: "x86_64"}[b[18]], f"{len(b) / 1e6:6.2f} MB, {len(zlib.compress(b)) / 1e6:6.2f} MB zipped")' $$function; \
	done

.PHONY: check
check: environments ## Check the template, the state machine's definition and the imports.
	$(call say,Template$(comma) state machine and imports)
	@$(SAM) validate --lint
	@$(VENVS)/tools/bin/python tests/local/check_template.py
	@$(VENVS)/tools/bin/python tests/local/check_imports.py
	@PATH="$(VENVS)/tools/bin:$$PATH" $(VENVS)/tools/bin/python tests/local/check_definition.py

.PHONY: documents
documents: ## Write the SSM documents of the template from their scripts in databases/documents.
	@python3 tests/local/hook_documents.py

.PHONY: costs
costs: ## Write what the system costs into README, from the template and tests/local/prices.json.
	@python3 tests/local/costs.py --write

.PHONY: check-report
check-report: environments ## Check the report's JSON and its page, in headless Chromium where there is one (PICTURES=folder).
	$(call say,Reports and their page)
	@cargo build $(CARGO_FLAGS) --examples --quiet
	@folder=$$(mktemp -d); trap 'rm -r "$$folder"' EXIT; \
	$(BINARIES)/examples/pages "$$folder"; \
	$(VENVS)/tools/bin/python tests/local/check_report.py "$$folder" $(if $(PICTURES),--pictures $(PICTURES))

.PHONY: check-cloud
check-cloud: environments build ## Run the commands that `make cloud` prints.
	$(call say,What CONTRIBUTING.md says to try by hand (one to two minutes))
	@$(VENVS)/moto/bin/python tests/local/check_playground.py --venvs $(VENVS)

.PHONY: check-measures
check-measures: environments build ## Run the measurements that need no local cloud, on small fleets.
	$(call say,Measurements of small fleets)
	@$(VENVS)/moto/bin/python tests/local/measure_verdicts.py --snapshots 1000
	@$(VENVS)/moto/bin/python tests/local/measure_report.py --volumes 100
	@$(VENVS)/moto/bin/python tests/local/measure_verify.py --bootstrap $(BINARIES)/verify --tib 1 --dump-gib 0
	@$(VENVS)/moto/bin/python tests/local/measure_cli.py --program $(BINARIES)/ebs-snapshots --volumes 100

.PHONY: check-local
check-local: environments ## Test the local cloud and the checks of the template.
	$(call say,The local cloud itself and the checks of the template)
	@# Some modules in a process, and as many processes as there are processors.
	@cd tests/local && printf '%s\n' test_*.py | sed 's/\.py$$//' | \
		xargs -n 4 -P "$$(getconf _NPROCESSORS_ONLN)" $(VENVS)/moto/bin/python -m unittest --quiet

.PHONY: databases
databases: ## Test the scripts that dump databases (CLASS=test_faults.Faults: a class of them).
	$(call say,The scripts that dump databases$(comma) on real servers)
	@python3 tests/databases/run.py $(CLASS)

.PHONY: databases-load
databases-load: ## Dump, verify and restore 200 MB while others write (some 2 minutes).
	$(call say,200 MB under a load of writers)
	@DATABASES_LOAD=200 python3 tests/databases/run.py test_load

.PHONY: stories
stories: build ## Run the end-to-end stories on the local cloud (STORY=expiry: those whose name has this part).
	$(call say,End-to-end stories on the local cloud)
	@LOCAL_CLOUD_VENVS=$(VENVS) cargo test --workspace --locked --test stories -- --test-threads=3 $(STORY)

$(CARGO_DENY):
	$(call say,cargo-deny (some 5 minutes$(comma) once))
	@cargo install cargo-deny --version 0.20.2 --locked --quiet --target-dir $(CACHE)/cargo-deny-build --root $(CACHE)/cargo-deny-0.20.2
	@rm -rf $(CACHE)/cargo-deny-build

.PHONY: environments
environments: $(VENVS)/tools/ready $(VENVS)/ministack/ready $(VENVS)/moto/ready

$(VENVS)/%/ready:
	@printf '\n== Python environment %s (about a minute)\n' $*
	@python3 -m venv --clear $(VENVS)/$*
	@$(VENVS)/$*/bin/pip install --quiet --disable-pip-version-check --requirement tests/local/requirements/$*.txt
	@touch $@
