#!/bin/bash
# Deploys the demo functions of stack.yaml with their rates (figlet 30, shasum 20, ocr 10 requests a second) to the
# platform of this node, as soon as its gateway answers. Runs inside of a node's container.
set -euo pipefail

readonly tries=20
readonly gateway=http://${OPENFAAS:-127.0.0.1:8080}
# The platform that comes with a node is up at once; an OpenFaaS takes its time.
delay=1

cd "$(dirname "$0")"

for ((try = 1; ; try++)); do
    if curl --silent --fail --max-time 5 --output /dev/null "$gateway/healthz"; then
        break
    fi
    if ((try == tries)); then
        echo "deploy_functions: $gateway/healthz has not answered $tries times; does the platform run? see docker logs" >&2
        exit 1
    fi
    echo "deploy_functions: waiting for $gateway ($try of $tries)"
    sleep "$delay"
    delay=$((delay < 8 ? delay * 2 : 10))
done

exec dfaas-provider deploy --gateway "$gateway" --stack stack.yaml --filter figlet --filter shasum --filter ocr "$@"
