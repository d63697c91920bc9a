"""Names of files, and words of whoever asks, on the terminal and the pages of a hospital's operator."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from outside_texts import OUTSIDE, odd_characters
from tiny import write_patient

from client.approval.command import _show_lines
from client.approval.comparison import differences, hashes
from client.audit.log import AuditLog
from client.cli import main
from client.health.service import HealthService
from client.site import load_site
from common.errors import ConfigError
from common.system.command import run_command


def file_name(text: str) -> str:
    """A name that a Linux file system takes, in which a half of a letter is a byte that is no UTF-8."""
    raw = text.replace("/", "|").replace("\0", "|").encode("utf-8", "surrogatepass")[:80]
    return os.fsdecode(raw)


@pytest.fixture
def misnamed(hospital):
    """A hospital with a patient, and a study that cannot be read, under each hostile name."""
    for number, text in enumerate(OUTSIDE.values()):
        name = f"p{number}-{file_name(text)}"
        write_patient(hospital.data, "plain", tumour=True, seed=number)
        folder = (hospital.data / "plain").rename(hospital.data / name)
        for file in list(folder.iterdir()):
            file.rename(folder / file.name.replace("plain", name))
        (hospital.data / file_name(text)).mkdir(exist_ok=True)
        (hospital.data / file_name(text) / f"{file_name(text)}_seg.nii.gz").write_bytes(b"")
    return hospital


def test_what_the_doctor_shows_of_files_is_plain(misnamed, client) -> None:
    said = client("doctor", misnamed.site)
    print(said.err[-3000:], said.code)
    assert odd_characters(said.out + said.err) == set()
    for line in (said.out + said.err).splitlines():
        assert not re.match(r"hospital1: (gone|refused|all is well)", line)
    page = (misnamed.folder / "doctor" / "index.html").read_bytes().decode()
    assert odd_characters(page, also="\n\t") == set()
    for tag in ("<script", "<base", "<form", 'onload="', "<svg onload"):
        assert tag not in page
    assert "p0-" in page
    told = (misnamed.folder / "doctor" / "doctor.json").read_bytes()
    assert told.isascii()
    assert any("p0-" in study["patient"] for study in json.loads(told)["studies"])


def test_what_prepare_shows_of_files_is_plain(misnamed, client) -> None:
    said = client("prepare", misnamed.site)
    assert odd_characters(said.out + said.err) == set()


@pytest.mark.parametrize("what", OUTSIDE)
def test_what_was_asked_is_told_as_the_words_of_who_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    file = tmp_path / "north" / "site.yaml"
    file.parent.mkdir()
    file.write_text("name: north\nreader: brats\norgan: brain\npath: data\n")
    text = OUTSIDE[what]
    AuditLog(load_site(file).audit_files()).write("asked", action=text, message="7")
    AuditLog(load_site(file).audit_files()).write("bundle refused", sha256="a", reason=text)
    for arguments in (["audit", str(file)], ["status", str(file)]):
        with pytest.raises(SystemExit):
            main(arguments)
        told = capsys.readouterr()
        assert odd_characters(told.out + told.err) == set()
        if arguments[0] == "audit":
            asked, refused, *_ = told.out.splitlines()
            assert re.search(r'  "[^"]*" from run None: not answered, or not yet$', asked)
            assert "  bundle refused: " in refused


@pytest.mark.parametrize("what", OUTSIDE)
def test_what_another_program_answers_in_place_of_the_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    text = OUTSIDE[what].encode("utf-8", "replace").decode()
    service = HealthService({name: lambda: text for name in ("data", "budget", "superlink")}, 0)
    service.start()
    try:
        file = tmp_path / "site.yaml"
        file.write_text(f"name: north\nreader: brats\norgan: brain\npath: data\nhealth_port: {service.port}\n")
        for arguments in (["health", str(file)], ["status", str(file)]):
            with pytest.raises(SystemExit):
                main(arguments)
            told = capsys.readouterr()
            assert odd_characters(told.out + told.err) == set()
            assert not re.search(r"^(error: (x|stopped; run)|hospital1:)", told.out + told.err, re.MULTILINE)
    finally:
        service.stop()


@pytest.mark.parametrize("error", [ConfigError, RuntimeError])
@pytest.mark.parametrize("what", OUTSIDE)
def test_an_error_says_one_thing(
    capsys: pytest.CaptureFixture[str], what: str, error: Callable[[str], Exception]
) -> None:
    def fail() -> None:
        raise error(f"/data/{OUTSIDE[what]}: cannot be read")

    assert run_command(fail) in (1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert odd_characters("\n".join(lines)) == set()
    # A traceback is set in, whatever it quotes.
    (own,) = [line for line in lines if not line.startswith("  ")]
    assert own.startswith("error: ")
    assert sum(map(len, lines)) < 1_000_000


@pytest.mark.parametrize("what", OUTSIDE)
def test_nothing_of_a_changed_line_is_hidden_or_left_out(capsys: pytest.CaptureFixture[str], what: str) -> None:
    """Where a reviewer reads code, what a terminal would obey is a code and the end of a long line is there."""
    text = OUTSIDE[what].encode("utf-8", "replace").decode()
    files = {"client/app.py": f"x = 1  # {text}{' ' * 9000}; evil()\n".encode()}
    release = {"client/app.py": b"x = 1\n"}
    _show_lines(files, release, differences(hashes(files), hashes(release)))
    told = capsys.readouterr().out
    assert odd_characters(told) == set()
    assert "; evil()" in told
    for hidden in odd_characters(text, also="\n\r"):
        assert ascii(hidden)[1:-1] in told
