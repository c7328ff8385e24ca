# syntax=docker/dockerfile:1.17

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build
# What .dockerignore lets through.
COPY . .
# The caches keep a second build from fetching and compiling every dependency again; they are no part of the image,
# hence the copies. The debug information goes to a file of its own.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin tenure \
    && objcopy --only-keep-debug target/release/tenure /usr/local/lib/tenure.debug \
    && objcopy --strip-debug --add-gnu-debuglink=/usr/local/lib/tenure.debug target/release/tenure /usr/local/bin/tenure

# The debug information, for gdb and perf: docker build --target debug --output . .
FROM scratch AS debug
COPY --from=build /usr/local/lib/tenure.debug /tenure.debug

FROM debian:12.11-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tenure" \
      org.opencontainers.image.description="Knows which partner may enter whose account, and who is billed for what" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
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
