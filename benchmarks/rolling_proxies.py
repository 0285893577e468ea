"""nginx and haproxy in front of three instances, configured as a careful operator would."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence

__all__ = ["PROXIES", "Front", "free_ports", "is_up", "missing", "proxies", "retries"]

PROXIES = ("nginx", "haproxy")

#: nginx has only passive checks: it learns that an instance is gone when a connection fails. So it must try another one then.
#: `non_idempotent` extends that to POST, and so to every gRPC call, whose request had been sent. This is justified because an
#: instance that ends gracefully answers whatever it has read: what was cut off was not begun. For an instance that dies it is
#: not true, so the orders carry an id.
NGINX = """
worker_processes 1;
daemon off;
error_log {folder}/nginx.log;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 10m;
    keepalive_requests 1000000;     # or it would close the client's connections now and then, which is another subject
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    upstream shop {{
        {servers}{keepalive}
    }}
    server {{
        listen 127.0.0.1:{port}{http2};
        location / {{
            {location}
        }}
    }}
}}
"""
NGINX_SERVER = "server 127.0.0.1:{port} max_fails=1 fail_timeout=1s{down};"
NGINX_HTTP = """
            proxy_pass http://shop;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_buffering off;                            # for /events
            proxy_connect_timeout 1s;
            proxy_next_upstream error timeout non_idempotent;
"""
#: It does not try a gRPC call again whose request it has begun to send. So the instances that stop must be left out before they
#: close, as Kubernetes' ingress controllers do it: see `Front.follow_readiness`.
NGINX_GRPC = """
            grpc_pass grpc://shop;
            grpc_connect_timeout 1s;
            grpc_next_upstream error timeout non_idempotent;
"""

#: haproxy asks each instance whether it is ready. As soon as an instance stops, the answer is no, and for a second everything
#: goes on (`drain_delay` after SIGTERM, a drain hook after a failure). So there are no requests any more when the instance
#: closes its connections. The retries are for an instance that dies.
HAPROXY = """
global
    stats socket {folder}/haproxy.sock
defaults
    mode http
    timeout connect 1s
    timeout check 2s                # a busy instance is no dead one
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response
frontend all
    bind 127.0.0.1:{port}{proto}
    default_backend shop
backend shop
    balance roundrobin
    option httpchk
    {check}
    default-server check inter 100ms fall 2 rise 1{proto}
    {servers}
"""
HAPROXY_SERVER = "server shop{number} 127.0.0.1:{port}"
HAPROXY_HTTP = """
    http-check send meth GET uri /ready ver HTTP/1.1 hdr Host shop
    http-check expect status 200
"""
#: A call that has failed has its status in the headers; one that has not, in the trailers.
HAPROXY_GRPC = """
    http-check connect proto h2
    http-check send meth POST uri /shop/ready ver HTTP/2 hdr host shop hdr content-type application/grpc hdr te trailers
    http-check expect ! hdr name grpc-status
"""


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in (*PROXIES, "wrk") if shutil.which(name) is None]


def free_ports(number: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in sockets]


class Front:
    """Both proxies in front of the instances at these ports. `ports`: where they listen."""

    def __init__(self, folder: str, instances: Sequence[int], *, grpc: bool) -> None:
        self.ports = dict(zip(PROXIES, free_ports(len(PROXIES)), strict=True))
        self._folder, self._instances, self._grpc = folder, instances, grpc
        self.nginx: subprocess.Popen[bytes] | None = None

    def write_nginx(self, ready: Sequence[bool]) -> str:
        """Write the configuration of nginx, without the instances that are not ready; returns its path."""
        down = ["" if each else " down" for each in ready]
        servers = [NGINX_SERVER.format(port=port, down=end) for port, end in zip(self._instances, down, strict=True)]
        text = NGINX.format(
            folder=self._folder,
            port=self.ports["nginx"],
            http2=" http2" if self._grpc else "",
            keepalive="" if self._grpc else "\n        keepalive 16;",
            location=NGINX_GRPC if self._grpc else NGINX_HTTP,
            servers="\n        ".join(servers),
        )
        return _written(self._folder, "nginx.conf", text)

    async def follow_readiness(self) -> None:
        """Have nginx leave out whatever is not ready, for ever: write its configuration anew, and have it reload that."""
        assert self.nginx is not None
        before: list[bool] = []
        while True:
            ready = [is_up(self._folder, number) for number in range(len(self._instances))]
            if ready != before and any(ready):
                before = ready
                self.write_nginx(ready)
                self.nginx.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def proxies(folder: str, instances: Sequence[int], *, grpc: bool) -> Iterator[Front]:
    """Run both in front of the instances at these ports."""
    front = Front(folder, instances, grpc=grpc)
    ports = front.ports
    haproxy = HAPROXY.format(
        folder=folder,
        port=ports["haproxy"],
        proto=" proto h2" if grpc else "",
        check=HAPROXY_GRPC if grpc else HAPROXY_HTTP,
        servers="\n    ".join(HAPROXY_SERVER.format(number=n, port=port) for n, port in enumerate(instances)),
    )
    commands = {
        "nginx": ["nginx", "-e", f"{folder}/nginx.log", "-p", folder, "-c", front.write_nginx([True] * len(instances))],
        "haproxy": ["haproxy", "-db", "-f", _written(folder, "haproxy.cfg", haproxy)],
    }
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            log = stack.enter_context(open(os.path.join(folder, f"{name}.out"), "w"))
            process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
            stack.callback(process.terminate)
            _wait_for(ports[name], process)
            front.nginx = process if name == "nginx" else front.nginx
        yield front


def _written(folder: str, name: str, text: str) -> str:
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} did not start; its output is beside its configuration")


def _statistics(folder: str) -> list[dict[str, str]]:
    with socket.socket(socket.AF_UNIX) as asking, asking.makefile("r") as answer:
        asking.connect(os.path.join(folder, "haproxy.sock"))
        asking.sendall(b"show stat\n")
        return [*csv.DictReader(answer)]


def is_up(folder: str, number: int) -> bool:
    """Whether haproxy sends requests to this instance."""
    return any(row["svname"] == f"shop{number}" and row["status"].startswith("UP") for row in _statistics(folder))


def retries(folder: str) -> int:
    """How often haproxy has tried a request again."""
    return sum(int(row["wretr"] or 0) for row in _statistics(folder) if row["svname"] == "BACKEND")
