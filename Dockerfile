FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /app txcat
WORKDIR /app
COPY --from=build /src/target/release/txcat /usr/local/bin/txcat
COPY prompts prompts
COPY models models
COPY eval eval
RUN chown -R txcat /app
USER txcat
EXPOSE 8080
ENTRYPOINT ["txcat"]
CMD ["serve"]
