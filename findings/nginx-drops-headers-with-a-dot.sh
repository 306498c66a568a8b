#!/usr/bin/env bash
# nginx 1.22.1 (Debian 12): a field whose name has a dot is dropped on the way to the server, as those with an underscore are.
# A dot is a token character (RFC 9110, 5.6.2), and neither client nor access log hears of it. HAProxy 2.6.12 passes the same field.
source "$(dirname "$0")/lib.sh"
debian nginx=1.22.1-9+deb12u11 haproxy=2.6.12-1+deb12u4 liblua5.3-0
server=$(free_port) nginx=$(free_port) haproxy=$(free_port)
python3 "$(dirname "$0")/upstream.py" "$server" >"$work/heads" &
started+=($!)
mkdir -p "$work/nginx/logs"
cat >"$work/nginx/nginx.conf" <<CFG
daemon off;
master_process off;
pid $work/nginx/pid;
error_log $work/nginx/error.log;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
  server { listen 127.0.0.1:$nginx; location / { proxy_pass http://127.0.0.1:$server; } }
}
CFG
cat >"$work/haproxy.cfg" <<CFG
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
listen proxy
  bind 127.0.0.1:$haproxy
  server server 127.0.0.1:$server
CFG
background "$work/unpacked/usr/sbin/nginx" -p "$work/nginx" -c "$work/nginx/nginx.conf"
background haproxy -db -f "$work/haproxy.cfg"
wait_for "$server"
wait_for "$nginx"
wait_for "$haproxy"
ask() { curl -sS -o /dev/null -H 'trace.id: 7' "http://127.0.0.1:$1/$2"; }
fields() { grep -c "GET /$1 .*trace.id: 7" "$work/heads" || true; }
ask "$nginx" by-nginx
ask "$haproxy" by-haproxy
same "heads with trace.id by HAProxy" 1 "$(fields by-haproxy)"
same "heads with trace.id by nginx" 0 "$(fields by-nginx)"
same "heads by nginx at all" 1 "$(grep -c 'GET /by-nginx ' "$work/heads")"
