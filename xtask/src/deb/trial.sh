# What a host with the package does, in its own network: the services are started, a client on a link of its own calls a
# function, the agent is killed and comes back, and all ends.
set -euo pipefail

end() {
    code=$?
    if ((code != 0)); then
        echo "trial: the last command ended with $code"
        journalctl --no-pager --lines=60 --unit dfaas-agent --unit dfaas-provider || true
        dfaas-agent status || true
    fi
}
trap end EXIT

say() {
    echo "trial: $*"
}

# Tries a command for ten seconds.
until_ok() {
    for ((try = 0; try < 100; try++)); do
        if "$@" >/dev/null 2>&1; then
            return
        fi
        sleep 0.1
    done
    echo "trial: ten seconds have not sufficed for: $*"
    "$@"
}

call() {
    ip netns exec client curl --silent --show-error --fail-with-body --max-time 5 "$@" http://10.99.0.1/function/figlet
}

# A line of /proc/PID/status.
status_of() {
    local pid
    pid=$(pgrep --oldest --full "$1")
    awk -v key="$2:" '$1 == key { print $2 }' "/proc/$pid/status"
}

ip link set lo up
ip netns add client
ip link add eth0 type veth peer name eth0 netns client
ip address add 10.99.0.1/24 dev eth0
ip link set eth0 up
ip -netns client address add 10.99.0.2/24 dev eth0
ip -netns client link set eth0 up

systemctl start dfaas-provider dfaas-agent
say "both services say that they are ready: $(systemctl is-active dfaas-provider dfaas-agent | paste -sd' ')"

dfaas-provider deploy --stack /usr/share/doc/dfaas/examples/stack.yaml --filter figlet
until_ok dfaas-agent status --ready
until_ok call --data-raw hi
call --data-raw dfaas
say "the kernel steers a call: $(call --data-raw hi | wc -l) lines"
until_ok call --data-raw hi --header 'Transfer-Encoding: chunked'
say "HAProxy passes an upload in chunks on"

is_told() {
    systemctl show --property StatusText --value dfaas-agent | grep '^Ready'
}
until_ok is_told
say "systemd is told: $(systemctl show --property StatusText --value dfaas-agent)"
beat=$(systemctl show --property WatchdogTimestampMonotonic --value dfaas-agent)
((beat > 0))
say "the watchdog is fed"

user=$(ps -o user= -p "$(systemctl show --property MainPID --value dfaas-agent)")
[[ $user == dfaas ]]
say "the agent is the user $user, with capabilities $(status_of '^/usr/bin/dfaas-agent run' CapEff)"
# Debian runs another HAProxy.
ours='haproxy -db'
# The unit lacks CAP_SETPCAP, so the bounding set stays; without new privileges nothing comes of it.
for set in CapInh CapPrm CapEff CapAmb; do
    [[ $(status_of "$ours" $set) == 0000000000000000 ]] || { say "HAProxy has $set $(status_of "$ours" $set)"; exit 1; }
done
[[ $(status_of "$ours" NoNewPrivs) == 1 ]]
say "HAProxy has no capability, and gets none"

before=$(systemctl show --property MainPID --value dfaas-agent)
systemctl kill --signal=KILL dfaas-agent
another() {
    local now
    now=$(systemctl show --property MainPID --value dfaas-agent)
    [[ $now != 0 && $now != "$before" ]] && dfaas-agent status --ready
}
until_ok another
until_ok call --data-raw hi
say "killed, the agent comes back and serves"

systemctl stop dfaas-agent dfaas-provider
[[ $(systemctl is-failed dfaas-agent dfaas-provider | sort -u) == inactive ]]
if pgrep --list-full --full "$ours|^/usr/bin/dfaas"; then
    say "these still run"
    exit 1
fi
if call --data-raw hi 2>/dev/null; then
    say "somebody still answers"
    exit 1
fi
say "stopped, nothing of it is left"
echo "trial: done"
