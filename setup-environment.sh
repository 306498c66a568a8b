#!/bin/bash
# Makes a fresh Debian or Ubuntu ready for the nodes in containers: installs Docker and Compose from the distribution and
# chooses the Compose file for the engine's version. `--check` only tells what is missing.
set -euo pipefail

readonly kernel_min=5.10
cd "$(dirname "$0")"

fail() {
    echo "setup-environment: $*" >&2
    exit 1
}

is_at_least() {
    [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

has_compose() {
    docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null
}

# The first package of that name which the distribution has.
first_known() {
    local name
    for name in "$@"; do
        if [[ -n $(apt-cache madison "$name" 2>/dev/null) ]]; then
            echo "$name"
            return
        fi
    done
    fail "this distribution has none of: $*; follow https://docs.docker.com/engine/install/"
}

install_packages() {
    command -v apt-get >/dev/null ||
        fail "there is no apt-get here; install Docker as https://docs.docker.com/engine/install/ says"
    ((EUID == 0)) || fail "installing needs root: sudo $0"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    local packages=()
    command -v curl >/dev/null || packages+=(curl)
    command -v jq >/dev/null || packages+=(jq)
    command -v dockerd >/dev/null || packages+=(docker.io)
    command -v docker >/dev/null || packages+=("$(first_known docker-cli docker.io)")
    has_compose || packages+=("$(first_known docker-compose-v2 docker-compose)")
    apt-get install --no-install-recommends -y -qq "${packages[@]}"
    if [[ -d /run/systemd/system ]]; then
        systemctl enable --now docker
    fi
}

is_complete() {
    command -v curl >/dev/null && command -v jq >/dev/null && command -v dockerd >/dev/null &&
        command -v docker >/dev/null && has_compose
}

# Compose reads .env in the folder where it is started.
choose_file() {
    local version=$1
    if ((${version%%.*} >= 23)); then
        echo "Docker Engine $version: docker-compose.yml, with CAP_BPF and CAP_PERFMON"
    elif [[ -f .env ]] && grep -q '^COMPOSE_FILE=' .env; then
        echo "Docker Engine $version: .env names the Compose file: $(grep '^COMPOSE_FILE=' .env)"
    else
        printf 'COMPOSE_FILE=docker/engine-20.yml\nCOMPOSE_PROJECT_NAME=dfaas\n' >>.env
        echo "Docker Engine $version: docker/engine-20.yml, with CAP_SYS_ADMIN (written to .env)"
    fi
}

case ${1:-} in
    "" | --check) ;;
    *)
        echo "usage: $0 [--check]" >&2
        exit 64
        ;;
esac
release=$(uname -r)
is_at_least "${release%%-*}" "$kernel_min" ||
    fail "Linux $release is older than $kernel_min; a node runs here with AGENT_DATA_PLANE=haproxy only"
if [[ ${1:-} != --check ]] && ! is_complete; then
    install_packages
fi
command -v docker >/dev/null || fail "there is no docker; install it: sudo $0"
has_compose || fail "there is no Docker Compose; install it: sudo $0"
version=$(docker version --format '{{.Server.Version}}' 2>&1) ||
    fail "no engine answers: ${version##*$'\n'}; start it (sudo systemctl start docker), or join the group docker"
if [[ ${1:-} != --check ]]; then
    choose_file "$version"
fi
if docker compose version >/dev/null 2>&1; then
    echo "Ready: docker compose up -d"
else
    echo "Ready; this Compose is called docker-compose: docker-compose up -d"
fi
