"""A provisioned federation, and the command that joins it."""

import pytest
from enrolment_service import federation, free_port
from joining import Said

from client.cli import main
from server.provision.provision import Places, provision


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path / "provision")


@pytest.fixture
def settings(places):
    settings = federation(free_port())
    provision(settings, places)
    return settings


@pytest.fixture
def client(capsys, tmp_path):
    """Runs ``init`` with a site's kit into ``<tmp_path>/<folder>``."""

    def run(kit, folder="node", *more):
        with pytest.raises(SystemExit) as exit_:
            main(["init", str(kit), "--folder", str(tmp_path / folder), *more])
        said = capsys.readouterr()
        return Said(int(exit_.value.code or 0), said.out, said.err)

    return run
