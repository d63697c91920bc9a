"""Federations that run while a module's tests do."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_federation import RunningFederation, need_nginx

SITES = ("hospital1", "hospital2", "hospital3")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFederation]:
    """Three hospitals that have joined, their nodes connected."""
    need_nginx()
    federation = RunningFederation(tmp_path_factory.mktemp("federation"), SITES)
    try:
        federation.command("server", "provision", federation.file)
        federation.start_server()
        for site in SITES:
            federation.join(site)
            federation.start_node(site)
        yield federation
    finally:
        federation.end()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFederation]:
    """A server and two invited hospitals, of which none has joined yet."""
    need_nginx()
    federation = RunningFederation(tmp_path_factory.mktemp("federation"), SITES[:2])
    try:
        federation.command("server", "provision", federation.file)
        federation.start_server()
        yield federation
    finally:
        federation.end()


@pytest.fixture
def besieged(tmp_path: Path) -> Iterator[RunningFederation]:
    """Three hospitals whose nodes are connected, and a fourth site that has joined and starts no node."""
    need_nginx()
    federation = RunningFederation(tmp_path, (*SITES, "mallory"))
    try:
        federation.command("server", "provision", federation.file)
        federation.start_server()
        for site in federation.sites:
            federation.join(site)
        for site in SITES:
            federation.start_node(site)
        yield federation
    finally:
        federation.end()
