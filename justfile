# `just` lists these. Each is a command that you can type without it: see CONTRIBUTING.md.

_default:
    @just --list --unsorted

# Rules, wire format, settings, engine and stores on SQLite, 100 simulation seeds: no server, under a minute after a build. Fewer
# cases than `just test`, and without the engine's long comparisons of random histories
quick:
    cargo test --lib --locked
    TENURE_TEST_SERVERS=none TENURE_TEST_SEEDS=100 PROPTEST_CASES=32 cargo test --test all --locked -- \
        lifecycles:: laws:: oracle:: wire:: config:: engine:: simulation:: store::on_sqlite:: store::sqlite:: \
        --skip postgres --skip engine::dry_run --skip engine::forecast --skip engine::journal --skip engine::closings \
        --skip engine::statements --skip engine::what_if --skip engine::history

# Every test, as in CI: installs missing programs and starts its own servers
test *args:
    tests/run --locked {{ args }}

# The tests that use servers, on PostgreSQL 17 and 18 and RabbitMQ 4
newest *args:
    tests/newest --locked {{ args }}

# The long chaos test, the oracle on 10,000 histories, 10,000 simulation seeds, ten minutes of fuzzing
long:
    TENURE_TEST_CHAOS=long cargo test --locked --test all -- chaos:: --nocapture
    PROPTEST_CASES=10000 cargo test --locked --test all -- oracle::agreement:: --nocapture
    TENURE_TEST_SEEDS=10000 cargo test --locked --test all -- simulation:: --nocapture
    cargo +nightly fuzz run --fuzz-dir tests/fuzz message -- -max_total_time=600

# Format, clippy, documentation, spelling
lint:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
    typos

# The Debian package: needs cargo-deb
package *args:
    config/debian/package {{ args }}

# Throughput and latency, compared with a baseline: about nine minutes on two idle cores
bench *args:
    cargo bench --bench throughput -- {{ args }}
