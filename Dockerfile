# Lapis node. Build:  docker build -t lapis .
# Directory, then node (GENESIS is an absolute path):
#   docker run --rm -v lapis-data:/data -v GENESIS:/genesis.json:ro lapis init --dir /data --genesis /genesis.json
#   docker run -d -v lapis-data:/data -p 9650:9650/tcp -p 9650:9650/udp -p 127.0.0.1:9651:9651 lapis

# The workspace with empty sources. What follows from it stays cached until a manifest, the lock file or the list of
# source files changes.
FROM rust:1.95-slim-bookworm AS skeleton
WORKDIR /src
COPY . .
RUN mkdir /skeleton \
    && find . \( -name Cargo.toml -o -name Cargo.lock -o -name '*.rs' \) -exec cp --parents {} /skeleton \; \
    && find /skeleton -name '*.rs' -exec truncate --size=0 {} +

# The slim image carries gcc and the C library's headers, which c-kzg, blst, zstd, aws-lc and ring are compiled with.
FROM rust:1.95-slim-bookworm AS builder
WORKDIR /src
COPY --from=skeleton /skeleton .
# Dependencies. The workspace's own crates are empty here, so their artifacts have to go: the sources that replace them
# may be older than these artifacts, and cargo compares times.
RUN cargo build --release --locked --package lapis-node --lib \
    && cargo clean --release --locked \
        --package lapis-protocol-spec --package lapis-p2p --package lapis-storage --package lapis-node
COPY . .
# Function names stay in the binary, for backtraces; the tables of source lines are left out of the image.
RUN cargo build --release --locked --package lapis-node --bin lapis \
    && cp target/release/lapis /usr/local/bin/lapis \
    && strip --strip-debug /usr/local/bin/lapis

FROM debian:bookworm-slim
# A fixed id, so that a directory of the host can be given to it.
RUN groupadd --gid 10001 lapis \
    && useradd --uid 10001 --gid lapis --home-dir /data --no-create-home --shell /usr/sbin/nologin lapis \
    && install --directory --owner lapis --group lapis --mode 0750 /data
COPY --from=builder /usr/local/bin/lapis /usr/local/bin/lapis
USER lapis
WORKDIR /data
VOLUME /data
# Loopback, the program's default, would be out of reach from outside the container. HTTP has no authentication: publish
# the port to trusted addresses only, and set this back to loopback under host networking.
ENV LAPIS_HTTP__LISTEN=0.0.0.0:9651
# glibc gives each thread memory of its own to draw from, and keeps it: two such places bound that.
ENV MALLOC_ARENA_MAX=2
# libp2p over TCP and over QUIC; metrics, health and status.
EXPOSE 9650/tcp 9650/udp 9651/tcp
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 \
    CMD ["lapis", "status", "--http", "127.0.0.1:9651", "--json"]
ENTRYPOINT ["lapis"]
CMD ["run", "--dir", "/data"]
