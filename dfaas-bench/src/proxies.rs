//! HAProxy and nginx, as somebody who knows them would configure them for this.

use std::{fmt::Write as _, fs};

use anyhow::{Context as _, Result};
use dfaas_testbed::{Namespace, Process};

use crate::ports::{self, Hop};

/// Says whose proxy it is: that of the first node has the next hop behind it, and refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    Entry { node: &'a str },
    Second,
}

/// Starts HAProxy with a number of threads.
///
/// # Errors
///
/// When it cannot be started.
pub(crate) fn haproxy(namespace: &Namespace, place: Place<'_>, workers: u16) -> Result<Process> {
    let name = format!("haproxy{workers}");
    let file = format!("/run/{name}.cfg");
    write(namespace, &file, &haproxy_configuration(place, workers))?;
    Process::start(namespace, &name, "haproxy", &["-db", "-f", &file])
}

/// Starts nginx with a number of workers.
///
/// # Errors
///
/// When it cannot be started.
pub(crate) fn nginx(namespace: &Namespace, place: Place<'_>, workers: u16) -> Result<Process> {
    let name = format!("nginx{workers}");
    let file = format!("/run/{name}.conf");
    write(namespace, &file, &nginx_configuration(place, workers))?;
    Process::start(namespace, &name, "nginx", &["-c", &file, "-e", "stderr"])
}

fn write(namespace: &Namespace, file: &str, text: &str) -> Result<()> {
    fs::write(namespace.path(file), text).with_context(|| format!("writing {file} of {}", namespace.name()))
}

fn haproxy_configuration(place: Place<'_>, workers: u16) -> String {
    let mut text = format!(
        "global\n  nbthread {workers}\n  maxconn 8000\n\
         defaults\n  mode http\n  http-reuse always\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\n  timeout http-keep-alive 60s\n"
    );
    let mut listen = |hop: Hop, server: &str| {
        let port = ports::haproxy(workers, hop);
        let _ = write!(
            text,
            "frontend {hop:?}\n  bind :{port}\n  default_backend {hop:?}\n\
             backend {hop:?}\n  server s {server}\n"
        );
    };
    listen(Hop::Here, &ports::backend());
    if let Place::Entry { node } = place {
        listen(Hop::Next, &ports::second_node(ports::haproxy(workers, Hop::Here)));
        let _ = write!(
            text,
            "backend rates\n  stick-table type string size 10k expire 10s store http_req_rate(1s)\n\
             frontend refusing\n  bind :{}\n  \
             http-request deny deny_status 403 if {{ req.hdr(DFaaS-Node-ID) -m found }} !{{ req.hdr(DFaaS-Node-ID) {node} }}\n  \
             http-request track-sc0 path table rates\n  \
             http-request deny deny_status 429 if {{ sc0_http_req_rate(rates) gt 1 }}\n  \
             default_backend Here\n",
            ports::haproxy(workers, Hop::Refusing)
        );
    }
    text
}

fn nginx_configuration(place: Place<'_>, workers: u16) -> String {
    let mut servers = nginx_server(ports::nginx(workers, Hop::Here), "here", &ports::backend(), "");
    if let Place::Entry { node } = place {
        let next = ports::second_node(ports::nginx(workers, Hop::Here));
        servers += &nginx_server(ports::nginx(workers, Hop::Next), "next", &next, "");
        let _ = write!(
            servers,
            "  map_hash_bucket_size 128;\n  map $http_dfaas_node_id $stranger {{ default 1; \"\" 0; {node} 0; }}\n  \
             limit_req_zone $uri zone=rates:1m rate=1r/s;\n  limit_req_status 429;\n  limit_req_log_level info;\n"
        );
        let rules = "if ($stranger) { return 403; }\n    limit_req zone=rates;\n    ";
        servers += &nginx_server(
            ports::nginx(workers, Hop::Refusing),
            "refusing",
            &ports::backend(),
            rules,
        );
    }
    format!(
        "daemon off;\nuser root;\npid /run/nginx{workers}.pid;\nworker_processes {workers};\n\
         worker_rlimit_nofile 20000;\nevents {{ worker_connections 8192; multi_accept on; }}\n\
         http {{\n  access_log off;\n  error_log stderr crit;\n  tcp_nodelay on;\n  server_tokens off;\n  \
         keepalive_requests 1000000000;\n  client_max_body_size 16m;\n  client_body_buffer_size 2m;\n  \
         large_client_header_buffers 4 16k;\n  proxy_buffers 16 64k;\n  proxy_busy_buffers_size 256k;\n  \
         proxy_max_temp_file_size 0;\n  client_body_temp_path /run/nginx{workers}-body;\n  \
         proxy_temp_path /run/nginx{workers}-proxy;\n{servers}}}\n"
    )
}

fn nginx_server(port: u16, name: &str, server: &str, rules: &str) -> String {
    format!(
        "  upstream {name} {{ server {server}; keepalive 512; keepalive_requests 1000000000; }}\n  \
         server {{\n    listen {port} reuseport backlog=4096;\n    {rules}location / {{\n      \
         proxy_pass http://{name};\n      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n    }}\n  }}\n"
    )
}
