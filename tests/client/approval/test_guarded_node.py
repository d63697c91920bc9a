"""The guard before Flower's own functions: what a SuperNode does with a bundle that the hospital has not approved."""

import hashlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import flwr.supernode.start_client_internal as flower
import pytest
from flwr.app import Message, RecordDict
from flwr.cli.build import build_fab_from_disk
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.nodestate import NodeStateFactory

from client.approval.allow_list import approve_bundle
from client.approval.guarded_node import (
    BundleGuard,
    install_guard,
    only_node,
    prepare_home,
)
from client.approval.node_arguments import node_arguments
from client.audit.log import read_audit
from client.site import SiteSettings, load_site
from common.errors import ConfigError
from common.study.progress import Event
from common.system.bundle import stage_bundle

RUN = 7


@pytest.fixture
def module() -> Iterator[ModuleType]:
    """Flower's module, as it was installed before and after."""
    yield importlib.reload(flower)
    importlib.reload(flower)


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    file = tmp_path / "home" / "site.yaml"
    file.parent.mkdir()
    file.write_text("name: north\nreader: brats\norgan: brain\npath: data\n")
    return load_site(file)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build_fab_from_disk(stage_bundle(tmp_path_factory.mktemp("release") / "app"))


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    app = stage_bundle(tmp_path_factory.mktemp("changed") / "app")
    (app / "client" / "hello.py").write_text("raise SystemExit\n")
    return build_fab_from_disk(app)


class Node:
    """A SuperNode's state and its pulling of one message, without a network."""

    def __init__(self, module: ModuleType) -> None:
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = RUN, 1, 1
        self.module = module
        stores = ObjectStoreFactory()
        self.store = stores.store()
        self.state = NodeStateFactory(objectstore_factory=stores).state()
        self.state.set_node_id(5)

    def pull(self, fab: Fab, **run: Any) -> None:
        """Takes one message of a run whose bundle is ``fab``."""
        message = Message(RecordDict(), dst_node_id=5, message_type="query.hello")
        message.metadata.__dict__["_message_id"] = message.object_id
        message.metadata.__dict__["_run_id"] = RUN
        made = Run.create_empty(RUN)
        made.fab_hash, made.fab_id, made.fab_version = fab.hash_str, "oncofed/oncofed", "0.1.0"
        for key, value in run.items():
            setattr(made, key, value)
        contents = {message.object_id: message.deflate()}
        contents |= {child.object_id: child.deflate() for child in message.children.values()}
        self.module._pull_and_store_message(
            state=self.state,
            object_store=self.store,
            node_config={},
            receive=lambda: (message, get_object_tree(message)),
            get_run=lambda run_id: made,
            get_fab=lambda fab_hash, run_id: fab,
            pull_object=lambda run_id, object_id: contents[object_id],
            confirm_message_received=lambda run_id, message_id: None,
            trusted_entities=None,
        )

    @property
    def stored(self) -> bool:
        """Whether the bundle is there for a study to be started from."""
        return self.state.get_run(RUN) is not None

    def answer(self) -> Message | None:
        replies = self.state.get_messages_legacy(is_reply=True)
        return replies[0] if replies else None


def nobody(event: Event) -> None:
    """The supervisor of a node that has none."""


def fab_of(content: bytes, hash_: str | None = None) -> Fab:
    return Fab(hash_ or hashlib.sha256(content).hexdigest(), content, {})


def last_entry(site: SiteSettings) -> dict[str, Any]:
    entries, problem = read_audit(site.audit_files())
    assert problem is None
    return entries[-1]


def guarded(module: ModuleType, site: SiteSettings) -> tuple[Node, BundleGuard]:
    guard = BundleGuard(site, nobody)
    install_guard(guard, module)
    return Node(module), guard


def test_without_the_guard_flower_takes_any_bundle(module: ModuleType, changed: bytes) -> None:
    node = Node(module)
    node.pull(fab_of(changed))
    assert node.stored
    assert node.answer() is None


def test_the_release_is_taken_and_written_down(module: ModuleType, site: SiteSettings, release: bytes) -> None:
    node, _ = guarded(module, site)
    node.pull(fab_of(release))
    assert node.stored
    assert node.answer() is None
    entry = last_entry(site)
    assert (entry["event"], entry["flower_run"]) == ("bundle accepted", RUN)


def test_an_unapproved_bundle_is_answered_with_an_error_before_anything_of_it_is_kept(
    module: ModuleType, site: SiteSettings, changed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = guarded(module, site)
    monkeypatch.setattr(module, "get_fused_config_from_fab", lambda *_: pytest.fail("the bundle was opened"))
    node.pull(fab_of(changed))
    assert not node.stored
    assert node.state.get_fab(fab_of(changed).hash_str) is None
    answer = node.answer()
    assert answer is not None
    assert answer.error.reason == "its hospital has not approved this app bundle"
    entry = last_entry(site)
    assert (entry["event"], entry["sha256"]) == ("bundle refused", fab_of(changed).hash_str)
    assert "has not approved" in entry["reason"]


def test_once_it_is_approved_it_is_taken(module: ModuleType, site: SiteSettings, changed: bytes) -> None:
    node, _ = guarded(module, site)
    node.pull(fab_of(changed))
    approve_bundle(site, fab_of(changed).hash_str, {}, reviewed=True)
    node.pull(fab_of(changed))
    assert node.stored
    assert last_entry(site)["event"] == "bundle accepted"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"hash": "0" * 64}, "hash it was sent under"),
        ({"fab_hash": "0" * 64}, "hash it was sent under"),
        ({"fab_id": "oncofed/other"}, "name it was sent under"),
        ({"fab_version": "../../x"}, "name it was sent under"),
        ({"primary_task_type": "flwr-agentapp"}, "as an agent"),
    ],
)
def test_approved_bytes_lend_their_approval_to_nothing_else(
    module: ModuleType, site: SiteSettings, release: bytes, given: dict[str, str], said: str
) -> None:
    node, _ = guarded(module, site)
    node.pull(fab_of(release, given.pop("hash", None)), **given)
    assert not node.stored
    assert said in last_entry(site)["reason"]


def test_marks_of_the_coordinator_count_for_nothing(module: ModuleType, site: SiteSettings, changed: bytes) -> None:
    node, _ = guarded(module, site)
    node.pull(Fab(fab_of(changed).hash_str, changed, {"valid_license": "yes", "hospital": "{}"}))
    assert not node.stored


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_what_is_no_bundle_does_not_stop_the_node(module: ModuleType, site: SiteSettings, content: bytes) -> None:
    node, _ = guarded(module, site)
    node.pull(fab_of(content))
    assert not node.stored
    assert node.answer() is not None


def test_a_guard_that_fails_lets_nothing_pass(
    module: ModuleType, site: SiteSettings, release: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = guarded(module, site)
    monkeypatch.setattr("client.approval.guarded_node.require_approved", lambda *_: 1 / 0)
    node.pull(fab_of(release))
    assert not node.stored
    assert last_entry(site)["reason"] == "it could not be examined (ZeroDivisionError)"


def test_an_audit_log_that_cannot_be_written_lets_nothing_pass(
    module: ModuleType, site: SiteSettings, release: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = guarded(module, site)
    real = os.write
    monkeypatch.setattr("client.audit.hash_chain.os.write", lambda descriptor, data: real(descriptor, data[:10]))
    node.pull(fab_of(release))
    assert not node.stored


@pytest.mark.parametrize(
    "other",
    [
        SimpleNamespace(),
        SimpleNamespace(_pull_and_store_message=lambda state: None, _verify_fab=lambda: None),
        SimpleNamespace(_pull_and_store_message=flower._pull_and_store_message),
    ],
)
def test_another_flower_is_refused_at_the_start(site: SiteSettings, other: Any) -> None:
    with pytest.raises(ConfigError, match=r"constraints\.txt"):
        install_guard(BundleGuard(site, nobody), other)


def test_the_node_is_told_its_site_and_nothing_that_undoes_the_guard(site: SiteSettings) -> None:
    file = site.folder / "site.yaml"
    given = ["--superlink", "127.0.0.1:1", "--insecure"]
    assert node_arguments(file, given) == [*given, "--node-config", f"site-config='{file}'"]
    for more in (
        ["--allow-runtime"],  # argparse takes abbreviations
        ["--trusted-entities", "file.yaml"],
        ["--node-conf", "site-config='/other'"],
        ["--isolation", "process"],
    ):
        with pytest.raises(ConfigError, match=r"leave out|nothing here"):
            node_arguments(file, [*given, *more])
    with pytest.raises(ConfigError, match="quotes"):
        node_arguments(site.folder / "a'b.yaml", given)


def test_a_site_has_one_node_at_a_time(site: SiteSettings) -> None:
    with only_node(site), pytest.raises(ConfigError, match="a node of north runs already"), only_node(site):
        pass
    with only_node(site):
        pass


def test_bundles_of_an_earlier_start_are_gone(site: SiteSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLWR_HOME", "/elsewhere")
    old = site.folder / "flower" / "apps" / "oncofed.oncofed.0.1.0.deadbeef" / "client" / "app.py"
    old.parent.mkdir(parents=True)
    old.write_text("")
    assert os.environ["FLWR_HOME"] == "/elsewhere"
    home = prepare_home(site)
    assert not (home / "apps").exists()
    assert os.environ["FLWR_HOME"] == str(home)
