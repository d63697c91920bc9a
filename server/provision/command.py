"""The commands ``provision``, ``enrolments`` and ``serve-enrolment``: what they print and write."""

import logging
from datetime import timedelta
from pathlib import Path

from common.enrolment import EnrolmentReply
from common.errors import ConfigError
from common.node_keys import fingerprint
from server.provision.authority import certificate_fingerprint
from server.provision.federation import FederationSettings, load_federation
from server.provision.provision import Changes, Places, Provisioned, provision
from server.provision.registry import Registry, SiteRecord, utc_now
from server.provision.service import enrolment_app, serve

SOON = timedelta(days=30)


def places_of(file: Path, out: Path | None) -> Places:
    """Where a federation's files lie; ``provision`` beside its ``federation.yaml`` unless told otherwise."""
    return Places((out or file.parent / "provision").expanduser())


def provision_command(file: Path, out: Path | None, changes: Changes) -> None:
    """Provisions a federation and says what was done."""
    settings, places = load_federation(file), places_of(file, out)
    done = provision(settings, places, changes)
    print(f"federation  {settings.name} at {settings.address}")
    _print_certificates(places, done)
    for site, digest in done.kits.items():
        token = done.registry.sites[site].token
        print(
            f"kit         {places.kit(site)}  token until {token.expires:%Y-%m-%d %H:%M} UTC\n            SHA-256 "
            f"{digest}"
        )
    for site in done.revoked:
        print(f"revoked     {site}; a running server (oncofed-server start) cuts it off within seconds")
    if done.kits:
        print(
            "Send each kit over a confidential channel, to its site alone. Tell the site the kit's SHA-256 over "
            "another channel, on the telephone for instance."
        )
    elif not done.revoked and not done.new_server:
        print("nothing new; every site in federation.yaml has its kit (--renew SITE makes a new one)")
    _print_oddities(settings, places, done.registry)


def enrolments_command(file: Path, out: Path | None) -> None:
    """Lists the sites: state, fingerprint of the key, and until when a token that was not used is valid."""
    load_federation(file)
    registry = places_of(file, out).registry.read()
    width = max((len(site) for site in registry.sites), default=0)
    for site, record in sorted(registry.sites.items()):
        print(f"{site:{width}}  {record.state:8}  {_detail(record)}")


def serve_command(file: Path, out: Path | None, port: int | None = None) -> None:
    """Runs the enrolment service until it is interrupted; ``port`` stands in for ``serve.enrolment``."""
    settings, registry = load_federation(file), places_of(file, out).registry
    known = registry.read().federation
    if known != settings.name:
        raise ConfigError(f"{registry.path}: belongs to the federation {known}, not to {settings.name}; check --out")
    port = port or settings.serve.enrolment
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    print(
        f"enrolment for {settings.name} on http://127.0.0.1:{port}; sites reach it through the proxy only", flush=True
    )
    serve(enrolment_app(registry, EnrolmentReply(federation=settings.name, address=settings.address)), port)


def _print_certificates(places: Places, done: Provisioned) -> None:
    authority = done.authority.certificate
    print(
        f"authority   {places.authority / 'ca.crt'}  until {authority.not_valid_after_utc:%Y-%m-%d}"
        f"{' (new)' if done.new_authority else ''}\n            SHA-256 {certificate_fingerprint(authority)}"
    )
    print(
        f"server      {places.server / 'server.crt'}  until {done.server.not_valid_after_utc:%Y-%m-%d}"
        f"{' (new)' if done.new_server else ''}"
    )
    if done.new_authority:
        print(f"Back up {places.folder} now, and keep the backup as safe as the folder: it holds the authority's key.")
    if done.server.not_valid_after_utc - utc_now() < SOON:
        print("The server certificate expires soon: make a new one with --renew-server, and reload the proxy.")


def _print_oddities(settings: FederationSettings, places: Places, registry: Registry) -> None:
    named = {site.name for site in settings.sites}
    for site, record in sorted(registry.sites.items()):
        if site not in named and record.state != "revoked":
            print(f"{site}: is no longer in federation.yaml, but may still take part; --revoke {site} shuts it out")
        elif record.state == "invited" and record.token.expires <= utc_now():
            print(f"{site}: has not joined, and its token has expired; --renew {site} makes a new kit")
        elif record.state == "invited" and not places.kit(site).exists():
            print(f"{site}: has not joined, and its kit is gone; --renew {site} makes a new one")
        elif record.state == "revoked" and site in named:
            print(f"{site}: is revoked; --renew {site} would invite it again, with a new key")


def _detail(record: SiteRecord) -> str:
    if record.state == "revoked":
        return f"since {record.revoked:%Y-%m-%d %H:%M} UTC" if record.revoked else ""
    parts = []
    if record.key is not None:
        parts.append(f"{fingerprint(record.key.public)} since {record.key.enrolled:%Y-%m-%d %H:%M} UTC")
    if record.token.used is None:
        expired = record.token.expires <= utc_now()
        parts.append(f"token {'expired' if expired else 'valid until'} {record.token.expires:%Y-%m-%d %H:%M} UTC")
    return ", ".join(parts)
