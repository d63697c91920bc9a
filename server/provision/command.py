"""The commands ``provision`` and ``enrolments``: what they print and write."""

from datetime import timedelta
from pathlib import Path

from common.protocol.node_keys import fingerprint
from common.system.outside import say
from server.provision.authority import certificate_fingerprint
from server.provision.federation import FederationSettings, load_federation
from server.provision.provision import Changes, Places, Provisioned, provision
from server.provision.registry import Registry, SiteRecord, utc_now

SOON = timedelta(days=30)


def places_of(file: Path, out: Path | None) -> Places:
    """Where a federation's files lie; ``provision`` beside its ``federation.yaml`` unless told otherwise."""
    return Places((out or file.parent / "provision").expanduser())


def provision_command(file: Path, out: Path | None, changes: Changes) -> None:
    """Provisions a federation and says what was done."""
    settings, places = load_federation(file), places_of(file, out)
    done = provision(settings, places, changes)
    say(f"federation  {settings.name} at {settings.address}")
    _print_certificates(places, done)
    for site, digest in done.kits.items():
        token = done.registry.sites[site].token
        say(
            f"kit         {places.kit(site)}  token until {token.expires:%Y-%m-%d %H:%M} UTC",
            f"            SHA-256 {digest}",
        )
    for site in done.revoked:
        say(f"revoked     {site}; a running server (oncofed-server start) cuts it off within seconds")
    if done.kits:
        say(
            "Send each kit over a confidential channel, to its site alone. Tell the site the kit's SHA-256 over "
            "another channel, on the telephone for instance."
        )
    elif not done.revoked and not done.new_server:
        say("nothing new; every site in federation.yaml has its kit (--renew SITE makes a new one)")
    _print_oddities(settings, places, done.registry)


def enrolments_command(file: Path, out: Path | None) -> None:
    """Lists the sites: state, fingerprint of the key, and until when a token that was not used is valid."""
    load_federation(file)
    registry = places_of(file, out).registry.read()
    width = max((len(site) for site in registry.sites), default=0)
    for site, record in sorted(registry.sites.items()):
        say(f"{site:{width}}  {record.state:8}  {_detail(record)}")


def _print_certificates(places: Places, done: Provisioned) -> None:
    authority = done.authority.certificate
    say(
        f"authority   {places.authority / 'ca.crt'}  until {authority.not_valid_after_utc:%Y-%m-%d}"
        f"{' (new)' if done.new_authority else ''}",
        f"            SHA-256 {certificate_fingerprint(authority)}",
    )
    say(
        f"server      {places.server / 'server.crt'}  until {done.server.not_valid_after_utc:%Y-%m-%d}"
        f"{' (new)' if done.new_server else ''}"
    )
    say(f"questions   {places.questions}{' (new)' if done.new_questions else ''}")
    if done.new_authority or done.new_questions:
        say(f"Back up {places.folder} now, and keep the backup as safe as the folder: it holds its keys.")
    if done.server.not_valid_after_utc - utc_now() < SOON:
        say("The server certificate expires soon: make a new one with --renew-server, and reload the proxy.")


def _print_oddities(settings: FederationSettings, places: Places, registry: Registry) -> None:
    named = {site.name for site in settings.sites}
    for site, record in sorted(registry.sites.items()):
        if site not in named and record.state != "revoked":
            say(f"{site}: is no longer in federation.yaml, but may still take part; --revoke {site} shuts it out")
        elif record.state == "invited" and record.token.expires <= utc_now():
            say(f"{site}: has not joined, and its token has expired; --renew {site} makes a new kit")
        elif record.state == "invited" and not places.kit(site).exists():
            say(f"{site}: has not joined, and its kit is gone; --renew {site} makes a new one")
        elif record.state != "revoked" and registry.before_questions(site):
            say(
                f"{site}: its kit is from before questions were signed, so it would answer none; --renew {site} makes "
                "a new one, to join with (--new-key)"
            )
        elif record.state == "revoked" and site in named:
            say(f"{site}: is revoked; --renew {site} would invite it again, with a new key")


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
