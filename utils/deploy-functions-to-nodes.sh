#!/bin/bash
# Deploys the demo functions to each of COUNT nodes in containers, whose names are PREFIX, a number from 1, and SUFFIX.
set -euo pipefail

fail() {
    echo "deploy-functions-to-nodes: $*" >&2
    exit 1
}

if [[ $# -ne 3 || ! $1 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 COUNT PREFIX SUFFIX, as in: $0 3 dfaas-node- -1" >&2
    exit 64
fi
readonly count=$1 prefix=$2 suffix=$3

# Why a container does not run, and what to do about it.
why_not() {
    local container=$1 state error
    state=$(docker inspect --format '{{.State.Status}}' "$container")
    error=$(docker inspect --format '{{.State.Error}}' "$container")
    case $error in
        *"port is already allocated"* | *"address already in use"*)
            error+="; end what has that port, or choose others: NODE_PORT_1=9081 docker compose up -d" ;;
        "")
            error="see docker logs $container" ;;
    esac
    echo "container $container is $state: $error"
}

command -v docker >/dev/null || fail "there is no docker on this host; install it: sudo ./setup-environment.sh"
version=$(docker version --format '{{.Server.Version}}' 2>&1) ||
    fail "no engine answers: ${version##*$'\n'}; start it (sudo systemctl start docker), or join the group docker"

# What to type to get the nodes.
how_to_start() {
    # CAP_BPF came with Docker Engine 23.
    if ((${version%%.*} < 23)) && [[ -z ${COMPOSE_FILE:-} ]]; then
        echo "Docker Engine $version knows no CAP_BPF, so start the nodes by:" \
            "docker compose -f docker/engine-20.yml -p dfaas up -d"
        return
    fi
    echo "start the nodes first: docker compose up -d (docker ps -a lists them)"
}

for ((i = 1; i <= count; i++)); do
    container=$prefix$i$suffix
    running=$(docker inspect --format '{{.State.Running}}' "$container" 2>/dev/null) ||
        fail "there is no container $container; $(how_to_start)"
    [[ $running == true ]] || fail "$(why_not "$container")"
    echo "$container:"
    docker exec "$container" /node/deploy_functions.sh || fail "deploying to $container; see docker logs $container"
done
