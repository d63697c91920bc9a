"""The reverse proxy that stands between hospitals and Flower: nginx, with a configuration that is written here.

Flower's SuperLink serves three interfaces on one port, and whoever reaches two of them can start studies. So it listens
on this machine alone, and the proxy passes on what a registered node needs, path by path, and enrolment. Everything
else is answered with 404, whatever it is.
"""

import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError
from common.protocol.enrolment import PATH, split_address
from common.protocol.node_keys import key_serial

LARGEST_PART = "6m"
"""Flower sends arrays in parts of 5 MiB."""

FLEET = {
    "activate-node": "16k",
    "confirm-message-received": "16k",
    "deactivate-node": "16k",
    "get-fab": "16k",
    "get-run": "16k",
    "pull-messages": "16k",
    "pull-object": "16k",
    "push-messages": "2m",
    "push-object": LARGEST_PART,
    "send-node-heartbeat": "16k",
}
"""What a registered node asks for, below ``/v1/fleet/``, and the largest body of each. Its registration of itself is
left out. A message comes without its arrays: only their names and hashes are in it."""

SITE_HEADER = "x-oncofed-site"
"""In which the proxy tells the SuperLink whose TLS certificate a request came with."""

CONNECTIONS = 16384
"""Of each of nginx's workers, if the system lets it; two for each request that is passed on."""


@dataclass(frozen=True)
class ProxyPlan:
    """What the proxy is to do.

    Attributes:
        listen: where hospitals connect, as nginx writes it, e.g. ``443`` and ``[::]:443``.
        certificate, key: of the server, as hospitals know it.
        superlink: port of 127.0.0.1.
        superlink_authority: who signed the SuperLink's certificate.
        enrolment: port of 127.0.0.1.
        folder: for the proxy's own files.
        keys: public key of each site that may connect, as :func:`common.protocol.node_keys.public_line`.
    """

    listen: tuple[str, ...]
    certificate: Path
    key: Path
    superlink: int
    superlink_authority: Path
    enrolment: int
    folder: Path
    keys: Mapping[str, str]


def listeners(listen: str | None, address: str) -> tuple[str, ...]:
    """Where nginx listens: what the coordinator says, or where the public address leads to on this machine.

    Raises:
        ConfigError: if it leads elsewhere, so that somebody must say where.

    >>> listeners("10.0.0.5:8443", "fed.example.org:443")
    ('10.0.0.5:8443',)
    >>> listeners(None, "127.0.0.1:8443")
    ('127.0.0.1:8443',)
    """
    if listen is not None:
        return (listen,)
    host, port = split_address(address)
    try:
        known = {str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        known = set()
    own = sorted(one for one in known if _is_own(one))
    if not own:
        leads = f"leads to {', '.join(sorted(known))}, which" if known else "is unknown to this machine's DNS, so it"
        raise ConfigError(
            f"address {address}: {leads} is none of this machine's own addresses; say with serve.listen in "
            "federation.yaml where nginx is to listen, e.g. 10.0.0.5:443, or 0.0.0.0:443 for every interface"
        )
    return tuple(f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in own)


def _is_own(address: str) -> bool:
    """Whether this machine can listen there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def nginx_configuration(plan: ProxyPlan) -> str:
    """The whole configuration: nothing of the machine's own nginx is used.

    A node is known by its TLS certificate before a byte of what it sends is read; who has none reaches enrolment, and
    nothing else, within narrow limits for each address. Bodies are passed on as they come, so that no part of a model
    is written to this machine's disk on the way.
    """
    quoted = {name: _quoted(getattr(plan, name)) for name in ("certificate", "key", "superlink_authority", "folder")}
    # Only root may give up its rights; who is not root has none to give up.
    user = "user nobody nogroup;\n" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"  {kind}_temp_path {_quoted(plan.folder / 'tmp')};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    files = min(2 * CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    listening = "\n    ".join(f"listen {one} ssl backlog=4096;" for one in plan.listen)
    sites = "\n".join(f'    "{key_serial(key):040X}" {site};' for site, key in sorted(plan.keys.items()))
    fleet = "\n".join(_fleet_location(name, body, plan.superlink) for name, body in FLEET.items())
    return f"""# Written by oncofed-server start, anew at each start. Change federation.yaml, not this file.
{user}daemon off;
worker_processes auto;
worker_rlimit_nofile {files};
worker_shutdown_timeout 10s;
pid {_quoted(plan.folder / "nginx.pid")};
error_log stderr info;
events {{ worker_connections {files // 2}; }}
http {{
{temporary}
  # Whose certificate a connection shows: its serial number is made of the key.
  map "$ssl_client_verify $ssl_client_serial" $serial {{ "~^SUCCESS (?<shown>[0-9A-F]+)$" $shown; default ""; }}
  map $serial $site {{
    default "";
{sites}
  }}
  map $site $named {{ "" "-"; default $site; }}
  # Limits count nothing under an empty name: a site is counted as such, everybody else by address.
  # Somebody with IPv6 has a whole network of addresses.
  map $remote_addr $network {{
    "~^(?<net>(?:[0-9a-fA-F]{{1,4}}:){{4}})" $net;
    "~^(?<net>(?:[0-9a-fA-F]{{1,4}}:){{1,3}}):" $net;
    default $remote_addr;
  }}
  map $site $stranger {{ "" $network; default ""; }}
  limit_conn_zone $site zone=site_connections:1m;
  limit_conn_zone $stranger zone=stranger_connections:4m;
  limit_req_zone $site zone=site_requests:1m rate=100r/s;
  limit_req_zone $stranger zone=stranger_requests:4m rate=5r/s;
  limit_conn_log_level info;
  limit_req_log_level info;
  limit_conn site_connections 24;
  limit_conn stranger_connections 12;
  limit_req zone=site_requests burst=400 nodelay;
  limit_req zone=stranger_requests burst=40 nodelay;
  # A node tries again after 503.
  limit_conn_status 503;
  limit_req_status 503;

  # Requests that were refused; nodes that ask for work every few seconds would fill the disk.
  map "$status $uri" $refused {{
    "~^[45]" 1;
    "~^2.. /v1/fleet/(de)?activate-node$" 1;
    default 0;
  }}
  # Of what a stranger is refused for asking too often, a hundredth is noted.
  split_clients $request_id $sample {{ 1% 1; * 0; }}
  map "$refused $status$site" $noted {{ "1 503" $sample; "~^1" 1; default 0; }}
  # A hospital's doctor knocks where it should find no entrance.
  map $http_user_agent $asker {{ "~^oncofed-client doctor" doctor; "~^oncofed-server health" health; default node; }}
  map $request_uri $asked {{ "~^(?<path>/[^?]{{0,199}})" $path; default "/"; }}
  log_format noted '$status $remote_addr $asker $named $request_method $asked';
  access_log /dev/stdout noted if=$noted;
  server_tokens off;

  client_header_timeout 5s;
  client_body_timeout 10s;
  send_timeout 30s;
  keepalive_timeout 65s;
  reset_timedout_connection on;
  lingering_time 2s;
  lingering_timeout 1s;
  large_client_header_buffers 4 8k;
  server {{
    {listening}
    ssl_certificate {quoted["certificate"]};
    ssl_certificate_key {quoted["key"]};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets off;
    ssl_session_cache off;
    ssl_client_certificate {quoted["superlink_authority"]};
    ssl_verify_client optional;
    client_body_buffer_size 64k;
    client_max_body_size 8k;
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {quoted["superlink_authority"]};
    proxy_ssl_name localhost;
    proxy_ssl_server_name on;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header {SITE_HEADER} $site;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_read_timeout 300s;

{fleet}
    location = {PATH} {{
      limit_except POST {{ deny all; }}
      # A few kB: the service is asked when all of it is here.
      proxy_request_buffering on;
      proxy_pass http://127.0.0.1:{plan.enrolment};
    }}
    # Denied and not returned, so that the limits above count: `return` comes before them. 401 is what ends a node.
    location = /unknown {{ internal; deny all; error_page 403 =401 @unknown; }}
    location @unknown {{ return 401; }}
    location / {{ deny all; error_page 403 =404 @nothing; }}
    location @nothing {{ return 404; }}
  }}
}}
"""


def _fleet_location(name: str, body: str, superlink: int) -> str:
    return f"""    location = /v1/fleet/{name} {{
      if ($site = "") {{ rewrite ^ /unknown last; }}
      client_max_body_size {body};
      proxy_pass https://127.0.0.1:{superlink};
    }}"""


def find_nginx() -> Path:
    """The program.

    Raises:
        ConfigError: if it is not installed.
    """
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ConfigError("nginx is not installed; on Debian and Ubuntu: apt install nginx-light")
    return Path(found)


def write_configuration(plan: ProxyPlan) -> Path:
    """Writes the configuration and lets nginx look at it.

    Raises:
        ConfigError: if nginx is not there or does not accept it.
    """
    nginx = find_nginx()
    plan.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = plan.folder.resolve()
    file = folder / "nginx.conf"
    file.write_text(nginx_configuration(plan), encoding="utf-8")
    done = subprocess.run(
        [nginx, "-t", "-q", "-c", file, "-p", folder], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "[emerg]" in line] or done.stderr.splitlines()[-1:]
        raise ConfigError(f"{file}: nginx does not accept it: {' '.join(said)[:500]}")
    return file


def _quoted(path: Path) -> str:
    """A path as nginx reads it.

    Raises:
        ConfigError: for one that cannot be written there.
    """
    text = str(path.resolve())
    if any(character in text for character in '"$\\;{}\n'):
        raise ConfigError(f"{text}: nginx cannot be given such a path; choose another folder")
    return f'"{text}"'
