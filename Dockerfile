# syntax=docker/dockerfile:1

FROM rust:1-slim-bookworm AS build
WORKDIR /build
# What .dockerignore lets through.
COPY . .
# The caches keep a second build from fetching and compiling every dependency again; they are no part of the image,
# hence the copy.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin tenure \
    && cp target/release/tenure /usr/local/bin/tenure

FROM debian:bookworm-slim
# The certificates are what connections to PostgreSQL and RabbitMQ over TLS are checked against.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/tenure --create-home tenure
COPY --from=build /usr/local/bin/tenure /usr/local/bin/tenure
USER tenure
# Without a database's URL Tenure keeps its state in tenure.db here.
WORKDIR /var/lib/tenure
VOLUME /var/lib/tenure
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=15s --start-period=30s --retries=3 CMD ["tenure", "health"]
ENTRYPOINT ["tenure"]
CMD ["run"]
