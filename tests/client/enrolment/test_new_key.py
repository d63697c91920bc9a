"""A site that gets a new key has the old one until the coordinator has taken the new one, whatever goes wrong."""

import os
import shutil
import sys
from itertools import count

import pytest
from enrolment_service import federation, free_port, served
from joining import failed

from client.enrolment.command import init
from client.enrolment.connection import load_connection
from client.site import load_site
from common.errors import ConfigError
from common.protocol.node_keys import public_line, read_private_file
from server.provision.provision import Changes, Places, provision
from server.provision.rate_limit import RateLimit


def contents(folder):
    """All files of a node's folder, without those of an attempt that may be gone on with, and locks."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock"]
    names = {str(file.relative_to(folder)): file for file in files}
    return {name: file.read_bytes() for name, file in names.items() if not name.startswith("joining/")}


@pytest.fixture
def joined(client, places, settings, tmp_path):
    with served(settings, places):
        assert client(places.kit("hospital1")).code == 0
    (tmp_path / "node" / "node-id").write_text("a" * 32)
    return tmp_path / "node"


def test_a_kit_of_another_federation_changes_nothing(client, places, settings, joined, tmp_path):
    others = Places(tmp_path / "others")
    foreign = federation(free_port(), name="others")
    provision(foreign, others)
    before = contents(joined)
    with served(foreign, others):
        failed(client(others.kit("hospital1"), "node", "--new-key"), "federation tumours", "others")
    assert contents(joined) == before
    assert others.registry.read().sites["hospital1"].state == "invited"


def test_a_kit_of_another_site_changes_nothing(client, places, settings, joined):
    before = contents(joined)
    (joined / "site.yaml").unlink()
    with served(settings, places):
        failed(client(places.kit("hospital2"), "node", "--new-key"), "hospital1", "hospital2")
    assert contents(joined) == {name: content for name, content in before.items() if name != "site.yaml"}
    assert places.registry.read().sites["hospital2"].state == "invited"


def test_a_coordinator_out_of_reach_changes_nothing(client, places, settings, joined):
    provision(settings, places, Changes(renew=["hospital1"]))
    before = contents(joined)
    failed(client(places.kit("hospital1"), "node", "--new-key"), "cannot be reached")
    assert contents(joined) == before
    assert load_connection(joined).site == "hospital1"


CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link")


def killed_at(step, kit, node, new_key):
    """Runs ``init`` in a process that ends before its change number ``step`` to the node's folder; whether it did."""
    child = os.fork()
    if child == 0:
        left = step

        def hook(event, arguments):
            nonlocal left
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if (event in CHANGES or writes) and str(node.name) in str(arguments):
                left -= 1
                if left == 0:
                    os._exit(9)

        sys.addaudithook(hook)
        try:
            init(kit, node, new_key=new_key)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def own_key(node):
    return public_line(read_private_file((node / "keys" / "node").read_bytes()))


def complete(node, places):
    """Whether the node is what its coordinator takes it for."""
    try:
        connection = load_connection(node)
    except ConfigError as error:
        told = str(error)
        if "is missing; join first" not in told and "give the same command again" not in told:
            raise
        return False
    assert (connection.site, load_site(node / "site.yaml").name) == ("hospital1", "hospital1")
    enrolled = places.registry.read().sites["hospital1"].key
    return enrolled is not None and own_key(node) == enrolled.public


def test_a_new_key_that_is_cut_short_at_any_step_is_undone_or_gone_on_with(places, settings, joined, tmp_path):
    provision(settings, places, Changes(renew=["hospital1"]))
    shutil.copytree(joined, tmp_path / "saved")
    before, registry, kit = contents(joined), places.registry.path.read_bytes(), places.kit("hospital1")
    seen = set()
    with served(settings, places, limit=RateLimit(count=10_000)):
        for step in count(1):
            if not killed_at(step, kit, joined, new_key=True):
                break
            if places.registry.path.read_bytes() == registry:
                # The coordinator has not said yes: what is in use is as it was, and works.
                assert contents(joined) == before
                assert complete(joined, places)
                seen.add("undone")
            if contents(joined) == before or not complete(joined, places):
                seen.add("gone on with")
                init(kit, joined, new_key=True)
            assert complete(joined, places)
            [aside] = joined.glob("keys-until-*")
            assert (aside / "node").read_bytes() == before["keys/node"]
            assert len(list(joined.glob("connection-until-*"))) == len(list(joined.glob("ca-until-*"))) == 1
            assert not (joined / "node-id").exists()
            shutil.rmtree(joined)
            shutil.copytree(tmp_path / "saved", joined)
            places.registry.path.write_bytes(registry)
    assert seen == {"undone", "gone on with"}
    assert step > 20


def test_a_first_join_that_is_cut_short_at_any_step_is_gone_on_with(places, settings, tmp_path):
    node, registry, kit = tmp_path / "node", places.registry.path.read_bytes(), places.kit("hospital1")
    with served(settings, places, limit=RateLimit(count=10_000)):
        for step in count(1):
            if not killed_at(step, kit, node, new_key=False):
                break
            if places.registry.path.read_bytes() == registry and node.exists():
                assert contents(node) == {}
            if not complete(node, places):
                init(kit, node)
            assert complete(node, places)
            shutil.rmtree(node)
            places.registry.path.write_bytes(registry)
    assert step > 15


def test_files_that_cannot_change_places_are_moved_by_the_same_command_later(
    client, places, settings, joined, monkeypatch
):
    provision(settings, places, Changes(renew=["hospital1"]))
    with served(settings, places):
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.rename", lambda self, target: os.rename("/nowhere", target))
            failed(client(places.kit("hospital1"), "node", "--new-key"), "give the same command again")
        assert not complete(joined, places)
        assert client(places.kit("hospital1"), "node", "--new-key").code == 0
    assert complete(joined, places)


def test_a_key_that_was_refused_leaves_the_old_one_and_its_certificate(client, places, settings, joined):
    before = contents(joined)
    with served(settings, places):
        failed(client(places.kit("hospital1"), "node", "--new-key"), "used already, with another key")
    assert contents(joined) == before
    assert complete(joined, places)
