# A node: the agent, a function platform, HAProxy, and the programs of the demo functions.
#
#     docker build -t dfaas-node:latest -f docker/dfaas-node.dockerfile .
#
# BINARIES is an image that has the programs in /programs. With OPENFAAS=HOST:PORT a node runs no platform of its own:
# it uses an OpenFaaS or faasd there, which has to listen in the network namespace of the node's container, because the
# kernel steers connections to its listener.
ARG BASE=debian:bookworm-slim
ARG BINARIES=dfaas-agent-builder:latest
FROM ${BINARIES} AS binaries

FROM ${BASE}
RUN apt-get update \
    && apt-get install --no-install-recommends -y \
        ca-certificates curl figlet haproxy iproute2 perl procps tesseract-ocr tini \
    && rm -rf /var/lib/apt/lists/*

# Functions of the embedded platform run as this user, without any capability.
RUN groupadd --gid 1000 functions \
    && useradd --uid 1000 --gid 1000 --home-dir /var/lib/dfaas/provider --no-create-home functions \
    && install -d -m 755 /var/lib/dfaas \
    && install -d -m 700 -o functions -g functions /var/lib/dfaas/provider

COPY --from=binaries /programs/ /usr/local/bin/
COPY functions/stack.yaml /node/
COPY docker/files/deploy_functions.sh docker/files/start_node.sh /node/

ARG OPENFAAS=
ENV OPENFAAS=${OPENFAAS}
WORKDIR /node
EXPOSE 80/tcp
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s CMD ["dfaas-agent", "status", "--ready"]
# It passes signals on and reaps orphans of functions; -s, because it is not the first process of a sidecar.
ENTRYPOINT ["tini", "-s", "--"]
CMD ["/node/start_node.sh"]
