# Compiles the programs of a node. From the root of this repository:
#
#     docker build -t dfaas-agent-builder:latest -f docker/dfaas-agent-builder.dockerfile .
#
# The base needs rustup and the Debian release of the node's base image, so that both have the same C library.
ARG BASE=rust:1.95-bookworm
FROM ${BASE}

RUN apt-get update \
    && apt-get install --no-install-recommends -y binutils ca-certificates curl g++ pkg-config \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY . .
RUN docker/files/build_programs.sh /programs
