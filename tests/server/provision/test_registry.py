"""The list of sites on disk: one writer at a time, whole or not there."""

import threading

import pytest

from common.errors import ConfigError
from server.provision.registry import RegistryFile, utc_now


@pytest.fixture
def file(tmp_path):
    file = RegistryFile(tmp_path / "provision" / "registry.json")
    file.create("tumours")
    return file


def test_a_second_writer_waits_for_the_first(file):
    entered = threading.Event()

    def second():
        with file.edit() as registry:
            entered.set()
            registry.invite("hospital2", "lung", 1, utc_now())

    with file.edit() as registry:
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.5)
        registry.invite("hospital1", "brain", 1, utc_now())
    thread.join(30)
    assert set(file.read().sites) == {"hospital1", "hospital2"}


def test_what_fails_halfway_is_not_written(file):
    before = file.path.read_bytes()

    def fails():
        with file.edit() as registry:
            registry.invite("hospital1", "brain", 1, utc_now())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert file.path.read_bytes() == before


def test_making_it_again_keeps_it(file):
    with file.edit() as registry:
        registry.invite("hospital1", "brain", 1, utc_now())
    file.create("others")
    assert file.read().federation == "tumours"
    assert set(file.read().sites) == {"hospital1"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 2, "federation": "tumours", "sites": {}}'])
def test_a_damaged_list_names_the_file_and_the_way_out(file, content):
    file.path.write_text(content)
    with pytest.raises(ConfigError, match=r"registry\.json: is damaged .* backup"):
        file.read()
    with pytest.raises(ConfigError), file.edit():
        pass
    assert file.path.read_text() == content


def test_tokens_differ(file):
    with file.edit() as registry:
        tokens = {registry.invite("hospital1", "brain", 1, utc_now()) for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}
