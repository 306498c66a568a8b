#!/usr/bin/env bash
# hey 0.1.4 (Debian 12): `-n 10 -c 3` sends nine requests, and says nothing of the tenth.
# Each of the workers gets n / c requests, rounded down. A test that counts what a server got is short by up to c - 1, and the
# exit code is 0.
source "$(dirname "$0")/lib.sh"
debian hey=0.1.4-2+b4
port=$(free_port)
background python3 -m http.server "$port" --bind 127.0.0.1 --directory "$work/debs"
wait_for "$port"
report=$(hey -n 10 -c 3 "http://127.0.0.1:$port/")
same "answers that hey reports for -n 10 -c 3" "[200] 9 responses" "$(grep -oE '\[200\].*' <<<"$report" | tr -s '\t ' ' ')"
same "requests that the server logged" 9 "$(grep -c '"GET / HTTP' "$work/server.log")"
