#!/bin/bash
# Runs a node in a container: the platform, unless it is somebody else's, and the agent. Ends when one of them does, so
# that the engine starts both again. Arguments are options of `dfaas-agent run`.
set -euo pipefail

# As in dfaas-node.dockerfile.
readonly functions_user=1000

started=()

# The agent ends first: it tells peers and clients, while the platform still answers what is under way.
stop() {
    trap '' TERM INT
    local i
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do
        kill -TERM "${started[i]}" 2>/dev/null || true
        wait "${started[i]}" || true
    done
}

if [[ -z ${OPENFAAS:-} ]]; then
    setpriv --reuid="$functions_user" --regid="$functions_user" --clear-groups --no-new-privs \
        dfaas-provider --state-dir "${DFAAS_STATE_DIR:-/var/lib/dfaas}/provider" &
    started+=("$!")
elif [[ $OPENFAAS =~ ^([^:]+):([0-9]+)$ ]]; then
    set -- --openfaas-host "${BASH_REMATCH[1]}" --openfaas-port "${BASH_REMATCH[2]}" \
        --functions-port "${BASH_REMATCH[2]}" "$@"
else
    echo "start_node: OPENFAAS is \"$OPENFAAS\"; write HOST:PORT, as in 127.0.0.1:8080" >&2
    exit 64
fi
dfaas-agent run "$@" &
started+=("$!")

trap 'stop; exit 0' TERM INT
code=0
wait -n "${started[@]}" || code=$?
echo "start_node: a program of the node has ended with $code; ending the other" >&2
stop
# An end that nobody asked for is a failure.
exit "$((code == 0 ? 1 : code))"
