"""Writes a configuration of Envoy: one listener before one server. Usage: envoy.py PORT UPSTREAM"""

import json
import sys

TYPE = "type.googleapis.com/envoy.extensions.filters"


def at(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": int(port)}}


router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPE}.http.router.v3.Router"}}
routes = [{"match": {"prefix": "/"}, "route": {"cluster": "server"}}]
manager = {
    "@type": f"{TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
    "stat_prefix": "seen",
    "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    "http_filters": [router],
}
filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
endpoint = {"lb_endpoints": [{"endpoint": {"address": at(sys.argv[2])}}]}
cluster = {
    "name": "server",
    "connect_timeout": "1s",
    "load_assignment": {"cluster_name": "server", "endpoints": [endpoint]},
}
listener = {"address": at(sys.argv[1]), "filter_chains": [{"filters": filters}]}
print(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
