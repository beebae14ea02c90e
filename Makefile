# campanile's everyday commands. `make run` needs Rust only; `make test` runs what continuous integration runs.

DATA ?= target/run-data
LISTEN ?= 127.0.0.1:9090

.PHONY: run test build fmt lint unit conformance kills soak restart-memory bench clean

run: ## build and start a server with the example configuration and data in it
	cargo build --release
	@printf '\n  campanile: http://%s\n\n  try, in another terminal:\n' '$(LISTEN)'
	@printf '    curl -s http://%s/api/v1/targets | head -c 600\n' '$(LISTEN)'
	@printf '    target/release/campanile query metrics "rate(node_cpu_seconds_total[1m])" --server http://%s\n' '$(LISTEN)'
	@printf '    curl -s -d "hello from curl" http://%s/api/v1/logs?app=demo\n' '$(LISTEN)'
	@printf '    target/release/campanile query logs "{app=\\"demo\\"}" --server http://%s\n\n' '$(LISTEN)'
	target/release/campanile serve --config.file examples/campanile.yml --storage.path $(DATA) --web.listen-address $(LISTEN)

build: ## the release binary
	cargo build --release

fmt:
	cargo fmt --check

lint:
	cargo clippy --all-targets -- -D warnings

unit: ## unit tests
	cargo test --lib --bins

conformance: ## recorded answers of the peers, where their folder is there
	cargo test --test conformance -- --nocapture

OMELASTICSEARCH := /usr/lib/$(shell uname -m)-linux-gnu/rsyslog/omelasticsearch.so

# Tests that need programs of the distribution run where the programs are; elsewhere cargo counts them as ignored.
PEERS := $(shell command -v prometheus >/dev/null && command -v promtool >/dev/null && command -v prometheus-node-exporter >/dev/null && command -v amtool >/dev/null && test -x /usr/sbin/rsyslogd && test -e $(OMELASTICSEARCH) && test -x target/senders/bin/python && /usr/bin/python3 -c 'import aiosmtpd, requests, yaml' 2>/dev/null && echo --include-ignored)

test: fmt lint ## everything
	cargo test --lib --bins
	cargo test --test project
	cargo test --test conformance -- --nocapture $(PEERS)
	cargo test --test e2e -- $(PEERS)
	cargo test --doc

kills: ## kill -9 under load, many times
	scripts/kills

restart-memory: build ## peak memory of a restart beside that of running
	scripts/restart-memory

soak: build ## an hour of samples while series come and go
	scripts/soak

bench:
	cargo bench

clean:
	cargo clean
