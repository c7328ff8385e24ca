# `just` lists these. Each is a command that can be typed without it: see CONTRIBUTING.md.

_default:
    @just --list --unsorted

# Rules, laws, wire format and settings: no server, under a minute after a build
quick:
    cargo test --lib --locked
    cargo test --test all --locked -- lifecycles:: laws:: oracle:: wire:: config::

# Everything that CI runs: installs what is missing, starts servers of its own
test *args:
    tests/run --locked {{ args }}

# The long chaos run, 10,000 seeds of the simulation, ten minutes of fuzzing
long:
    TENURE_TEST_CHAOS=long cargo test --locked --test all -- chaos:: --nocapture
    TENURE_TEST_SEEDS=10000 cargo test --locked --test all -- simulation:: --nocapture
    cargo +nightly fuzz run --fuzz-dir tests/fuzz message -- -max_total_time=600

# Format, clippy, documentation, spelling
lint:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
    typos

# Throughput and latency beside what Tenure is compared with: some nine minutes, two cores to itself
bench *args:
    cargo bench --bench throughput -- {{ args }}
