"""Who is not let in, and what both sides read about it. Each case is one that people run into."""

import shutil
import ssl
from pathlib import Path

import httpx
import pytest
import yaml
from running_federation import STUDY, RunningFederation

from server.provision.authority import make_server_certificate, open_authority
from server.provision.provision import Places
from server.provision.registry import utc_now

pytestmark = [pytest.mark.slow]


def replace_certificate(federation: RunningFederation, *, authority: Path, days: int) -> None:
    """Puts another server certificate in the place of the real one; the running server takes it up."""
    signer = open_authority(authority, "tumours", 3650, utc_now())
    before = federation.said("server").count("was renewed")
    make_server_certificate(Places(federation.root / "provision").server, signer, "localhost", days, utc_now())
    federation.wait_until(lambda: federation.said("server").count("was renewed") > before, "the certificate is renewed")


def test_a_used_token(one: RunningFederation) -> None:
    one.join("hospital1")
    (one.root / "elsewhere").mkdir()
    said = one.command("client", "init", "provision/kits/hospital1.zip", "--folder", "elsewhere/hospital1", code=2)
    assert "says that this kit was used already, with another key" in said
    one.wait_for("server", r"hospital1: not enrolled \(used_token\)", 20)


def test_an_authority_that_did_not_sign(one: RunningFederation) -> None:
    own = Places(one.root / "provision").authority
    replace_certificate(one, authority=one.root / "another", days=10)
    try:
        one.start("stranger", "client", "start", "hospital1/site.yaml")
        one.wait_for("stranger", "the node ended: the coordinator's certificate was not signed by the authority")
        one.wait_for("server", "broke off: it does not trust this server's certificate", 30)
    finally:
        one.stop("stranger")
        replace_certificate(one, authority=own, days=10)


def test_an_expired_certificate(one: RunningFederation) -> None:
    own = Places(one.root / "provision").authority
    replace_certificate(one, authority=own, days=0)
    try:
        one.start("late", "client", "start", "hospital1/site.yaml")
        one.wait_for("late", "the node ended: the coordinator's certificate has expired")
        one.wait_for("server", "broke off: it finds this server's certificate expired", 30)
    finally:
        one.stop("late")
    one.command("server", "provision", one.file, "--renew-server")
    one.start_node("hospital1")
    one.stop("hospital1")


def test_the_control_interface_from_outside(one: RunningFederation) -> None:
    trust = ssl.create_default_context(cafile=str(one.root / "provision" / "authority" / "ca.crt"))
    public = f"https://localhost:{one.ports['public']}"
    for path in ("/v1/control/start-run", "/v1/runtime/get-nodes", "/v1/fleet/register-node", "/health", "/docs"):
        assert httpx.post(public + path, verify=trust, trust_env=False).status_code == 404
    one.wait_for("server", 'asked for "/v1/control/start-run", which is not open to the outside', 20)


def test_a_key_that_nobody_enrolled(one: RunningFederation) -> None:
    """A folder as init leaves it, with a key that the coordinator was never told of."""
    from common.protocol.node_keys import new_key, private_file

    stranger = one.root / "unknown"
    # Without what its node had at work: sockets cannot be copied.
    shutil.copytree(one.root / "hospital1", stranger, ignore=shutil.ignore_patterns("flower"))
    (stranger / "keys" / "node").write_bytes(private_file(new_key()))
    values = yaml.safe_load((stranger / "site.yaml").read_text())
    values["folder"] = str(stranger)
    (stranger / "site.yaml").write_text(yaml.safe_dump(values))
    one.start("unknown", "client", "start", "unknown/site.yaml")
    one.wait_for("unknown", "the node ended: the coordinator does not (let this node in|know this node)")
    one.wait_for("server", "was not let in: its key may not connect", 30)
    one.stop("unknown")


def test_an_action_that_the_hospital_does_not_allow(one: RunningFederation) -> None:
    file = one.root / "hospital1" / "site.yaml"
    values = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**values, "allowed_actions": ["query.hello", "evaluate.classifier"]}))
    one.start_node("hospital1")
    said = one.command(
        "server",
        "run",
        one.file,
        *STUDY,
        f"reference.brain.path={one.reference()}",
        "strategy.quorum=1",
        "name=refused",
        code=4,
    )
    assert 'hospital1: "cgan: takes no part, its hospital does not allow this action"' in said
    assert "gan/cgan: 0 of the 1 sites needed can take part" in said
    one.stop("hospital1")
    file.write_text(yaml.safe_dump(values))


def test_a_site_that_was_revoked(one: RunningFederation) -> None:
    one.start_node("hospital1")
    one.command("server", "provision", one.file, "--revoke", "hospital1")
    one.wait_for("server", "hospital1: its key may no longer connect")
    one.wait_for("hospital1", "the node ended: the coordinator does not (let this node in|know this node)")
    one.wait_for("server", "was not let in: its key may not connect", 60)
    assert "hospital1  revoked" in one.command("server", "status", one.file)
    one.stop("hospital1")
    said = one.command("server", "run", one.file, *STUDY, code=2)
    assert "no site has joined yet" in said


def test_a_second_server_and_a_second_node(one: RunningFederation) -> None:
    said = one.command("server", "start", one.file, code=2)
    assert "runs already; stop it first" in said
    one.command("server", "provision", one.file, "--renew", "hospital1")
    shutil.rmtree(one.root / "hospital1" / "keys")
    (one.root / "hospital1" / "connection.yaml").unlink()
    one.join("hospital1")
    one.start_node("hospital1")
    assert "runs already; stop it first" in one.command("client", "start", "hospital1/site.yaml", code=2)
