#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian 12): where memory may not become executable (PR_SET_MDWE of Linux 6.3, which is what systemd's
# MemoryDenyWriteExecute=yes asks for), one ACL with a regular expression makes a valid configuration an error: HAProxy has PCRE2
# compile each to machine code and takes PCRE2's refusal for a wrong expression, though PCRE2 itself would interpret it.
# The same configuration without the ACL is valid there. A hardened unit works until somebody writes `path_reg`.
source "$(dirname "$0")/lib.sh"
debian haproxy=2.6.12-1+deb12u4 liblua5.3-0
for lines in "acl wanted path_beg /function/" "acl wanted path_reg ^/function/"; do
  name=${lines##* path_}
  cat >"$work/${name%% *}.cfg" <<CFG
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend service
  bind 127.0.0.1:$(free_port)
  $lines
  http-request deny unless wanted
CFG
done
# check MDWE FILE: the exit code of a check, and the reason.
check() {
  python3 - "$@" <<'PY'
import ctypes, subprocess, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if sys.argv[1] == "mdwe" and ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
    sys.exit("this kernel has no PR_SET_MDWE")
seen = subprocess.run(["haproxy", "-c", "-f", sys.argv[2]], capture_output=True, text=True)
reason = "jit compilation failed" if "jit compilation failed" in seen.stderr + seen.stdout else "no reason"
print(seen.returncode, reason)
PY
}
same "a regular expression, without MDWE" "0 no reason" "$(check none "$work/reg.cfg")"
same "no regular expression, with MDWE" "0 no reason" "$(check mdwe "$work/beg.cfg")"
same "a regular expression, with MDWE" "1 jit compilation failed" "$(check mdwe "$work/reg.cfg")"
