"""The federation's own certificate authority and the server certificates that it signs.

Hospitals trust this authority and no other, so its key is the one thing that must never be lost or copied: with it a
rebuilt server is known to every old kit, without it every site needs a new kit.
"""

import ipaddress
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import ConfigError
from common.protocol.node_keys import key_serial, read_public_line
from common.system.files import write_bytes
from common.system.private_files import make_private_folder, readable_by_others, write_private

EARLIER = timedelta(minutes=5)
"""How far a certificate's start is put back, for hospitals whose clocks are a little slow."""


@dataclass(frozen=True)
class Authority:
    """A certificate authority.

    Attributes:
        key: its private key.
        certificate: its own certificate.
    """

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """The certificate as it goes into a kit."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def open_authority(folder: Path, federation: str, days: int, now: datetime) -> Authority:
    """The authority in ``folder`` (``ca.key``, ``ca.crt``); it is made where neither file is there.

    Args:
        folder: mode 0700.
        federation: named in the certificate.
        days: validity of a new one.
        now: the time.

    Raises:
        ConfigError: if one of the files is missing or unusable, others may read the key, or it has expired.
    """
    key_file, certificate_file = folder / "ca.key", folder / "ca.crt"
    # The key is written first: where it lies alone, nobody can have got a certificate of it yet.
    if not certificate_file.exists():
        make_private_folder(folder)
        key = _read_key(key_file) if key_file.exists() else ec.generate_private_key(ec.SECP384R1())
        if not key_file.exists():
            write_private(key_file, _key_file(key))
        certificate = _self_signed(key, federation, days, now)
        write_bytes(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
        return Authority(key, certificate)
    key, certificate = _read_key(key_file), _read_certificate(certificate_file)
    if certificate.public_key() != key.public_key():
        raise ConfigError(
            f"{key_file}: is not the key of {certificate_file}; put both back from one and the same backup"
        )
    if certificate.not_valid_after_utc <= now:
        raise ConfigError(
            f"{certificate_file}: the authority expired on {certificate.not_valid_after_utc:%Y-%m-%d}, and every kit "
            "with it; provision into a new folder (--out) and send every site a new kit"
        )
    return Authority(key, certificate)


def make_server_certificate(
    folder: Path, authority: Authority, host: str, days: int, now: datetime
) -> x509.Certificate:
    """A new key and certificate for the coordinator's server, ``server.key`` (mode 0600) and ``server.crt``.

    Both are swapped together with the folder they lie in: they never fail to match.

    Args:
        folder: where they go; an earlier pair there makes way.
        authority: signs it.
        host: DNS name or IP address that hospitals reach; ``localhost`` and 127.0.0.1 are added.
        days: validity; it ends with the authority's at the latest.
        now: the time.
    """
    # P-256: a handshake costs a tenth of what it does on P-384, and anybody may ask for one.
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + timedelta(days=days), authority.certificate.not_valid_after_utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - EARLIER, authority.certificate.not_valid_before_utc))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA384())
    )
    new, old = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")
    for left_over in (new, old):
        shutil.rmtree(left_over, ignore_errors=True)
    make_private_folder(new)
    write_private(new / "server.key", _key_file(key))
    write_bytes(new / "server.crt", certificate.public_bytes(serialization.Encoding.PEM))
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return certificate


def node_certificate(authority: Authority, site: str, public_key: str, now: datetime) -> bytes:
    """The certificate by which nginx knows a site's node before it reads a byte of what the node sends, as PEM.

    It is valid as long as the authority: who may connect is what the list of sites says, by the certificate's serial
    number, and that is made of the key. So nothing needs to be kept of it, and it can be made again.

    Args:
        authority: signs it.
        site: its name.
        public_key: one line as of :func:`common.protocol.node_keys.public_line`.
        now: the time.
    """
    key = read_public_line(public_key)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site)]))
        .issuer_name(authority.certificate.subject)
        .public_key(key)
        .serial_number(key_serial(public_key))
        .not_valid_before(max(now - EARLIER, authority.certificate.not_valid_before_utc))
        .not_valid_after(authority.certificate.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA384())
        .public_bytes(serialization.Encoding.PEM)
    )


def read_server_certificate(folder: Path, authority: Authority, host: str) -> x509.Certificate | None:
    """The server certificate in ``folder``; None if none was made yet.

    Raises:
        ConfigError: if it cannot be read, was signed by another authority or is not for ``host``.
    """
    file = folder / "server.crt"
    if not file.exists() or not (folder / "server.key").exists():
        return None
    certificate = _read_certificate(file)
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except Exception as error:
        raise ConfigError(
            f"{file}: was not signed by this federation's authority; make a new one with --renew-server"
        ) from error
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if not set(_names(host)) <= set(names):
        raise ConfigError(
            f"{file}: is not for {host}, the address in federation.yaml; make a new one with --renew-server, and tell "
            "the sites the new address: those that have joined keep the old one in their connection.yaml"
        )
    return certificate


def certificate_fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate in hexadecimal, as ``openssl x509 -fingerprint -sha256`` gives it, without colons."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _self_signed(key: ec.EllipticCurvePrivateKey, federation: str, days: int, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{federation} certificate authority"[:64])])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    """An authority signs certificates and nothing else; a server signs handshakes and nothing else."""
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _names(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    try:
        own: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        own = x509.DNSName(host.lower())
    return [own, *(name for name in names if name != own)]


def _key_file(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        if readable_by_others(file):
            raise ConfigError(f"{file}: others can read the authority's key; `chmod 600 {file}` if nobody has")
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{file}: the authority's key cannot be read; put it back from your backup. Without it every site needs a "
            "new kit, from a new folder (--out)"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{file}: is not an elliptic-curve key; put the authority's key back from your backup")
    return key


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read as a certificate; put it back from your backup") from error
