# syntax=docker/dockerfile:1
# Portcullis in a container: one binary on a small Debian, as a user without rights. See deploy/compose.yaml for how it
# is meant to run: read-only, with a volume for /data. Not yet built by any test.

FROM rust:1.95-slim-bookworm AS build
# aws-lc and SQLite are C.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# `--build-arg FEATURES=http3` for HTTP/3, which is experimental.
ARG FEATURES=""
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin portcullis --features "$FEATURES" \
 && install -D -m 755 target/release/portcullis /out/portcullis \
 && install -d -m 700 /out/data

FROM debian:bookworm-slim
# Whom services with TLS are proved by, where nothing else is declared.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/portcullis /usr/local/bin/portcullis
# Any number will do that is not 0; the volume belongs to it.
COPY --from=build --chown=65532:65532 --chmod=700 /out/data /data
USER 65532:65532
VOLUME /data
# Inside a container every address is a stranger's: calls are taken on all of them. The admin API stays on the
# container's own loopback: `docker exec CONTAINER portcullis service list`.
ENV PORTCULLIS_DATA_DIR=/data \
    PORTCULLIS_LISTEN=0.0.0.0:6500
EXPOSE 6500
STOPSIGNAL SIGTERM
ENTRYPOINT ["portcullis"]
CMD ["serve"]
