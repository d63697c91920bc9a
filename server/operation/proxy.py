"""The reverse proxy that stands between hospitals and Flower: nginx, with a configuration that is written here.

Flower's SuperLink serves three interfaces on one port, and whoever reaches two of them can start studies. So it listens
on this machine alone, and the proxy passes on what a registered node needs, path by path, and enrolment. Everything
else is answered with 404, whatever it is.
"""

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from common.enrolment import PATH, split_address
from common.errors import ConfigError

FLEET = (
    "activate-node",
    "confirm-message-received",
    "deactivate-node",
    "get-fab",
    "get-run",
    "pull-messages",
    "pull-object",
    "push-messages",
    "push-object",
    "send-node-heartbeat",
)
"""What a registered node asks for, below ``/v1/fleet/``. Its registration of itself is left out."""

LARGEST_BODY = "16m"
"""Flower sends arrays in parts of 5 MB."""


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
    """

    listen: tuple[str, ...]
    certificate: Path
    key: Path
    superlink: int
    superlink_authority: Path
    enrolment: int
    folder: Path


def listeners(listen: str | None, address: str) -> tuple[str, ...]:
    """Where nginx listens: what the coordinator says, or every interface at the port of the public address.

    >>> listeners("10.0.0.5:8443", "fed.example.org:443")
    ('10.0.0.5:8443',)
    """
    if listen is not None:
        return (listen,)
    port = split_address(address)[1]
    return (str(port), f"[::]:{port}") if _has_ipv6() else (str(port),)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def nginx_configuration(plan: ProxyPlan) -> str:
    """The whole configuration: nothing of the machine's own nginx is used.

    Bodies are passed on as they come, so that no part of a model is written to this machine's disk on the way.
    """
    quoted = {name: _quoted(getattr(plan, name)) for name in ("certificate", "key", "superlink_authority", "folder")}
    # Only root may give up its rights; who is not root has none to give up.
    user = "user nobody nogroup;\n" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"  {kind}_temp_path {_quoted(plan.folder / 'tmp')};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    listening = "\n    ".join(f"listen {one} ssl;" for one in plan.listen)
    return f"""# Written by oncofed-server start, anew at each start. Change federation.yaml, not this file.
{user}daemon off;
worker_processes auto;
pid {_quoted(plan.folder / "nginx.pid")};
error_log stderr info;
events {{ worker_connections 1024; }}
http {{
{temporary}
  # Requests that were refused; nodes that ask for work every few seconds would fill the disk.
  map "$status $uri" $noted {{
    "~^[45]" 1;
    "~^2.. /v1/fleet/(de)?activate-node$" 1;
    default 0;
  }}
  # A hospital's doctor knocks where it should find no entrance.
  map $http_user_agent $asker {{ "~^oncofed-client doctor" doctor; "~^oncofed-server health" health; default node; }}
  log_format noted '$status $remote_addr $asker - $request_method $uri';
  access_log /dev/stdout noted if=$noted;
  server_tokens off;
  server {{
    {listening}
    ssl_certificate {quoted["certificate"]};
    ssl_certificate_key {quoted["key"]};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets off;
    client_body_buffer_size 64k;
    client_max_body_size 8k;

    location ~ ^/v1/fleet/({"|".join(FLEET)})$ {{
      client_max_body_size {LARGEST_BODY};
      proxy_pass https://127.0.0.1:{plan.superlink};
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {quoted["superlink_authority"]};
      proxy_ssl_name localhost;
      proxy_ssl_server_name on;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_read_timeout 300s;
    }}
    location = {PATH} {{
      limit_except POST {{ deny all; }}
      proxy_pass http://127.0.0.1:{plan.enrolment};
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_buffering off;
    }}
    location / {{ return 404; }}
  }}
}}
"""


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
