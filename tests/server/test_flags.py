"""Flags of ``oncofed-server`` that would have no effect are refused."""

from pathlib import Path

import pytest
from enrolment_service import federation, free_port

from server.cli import main
from server.provision.provision import Places, provision


@pytest.mark.parametrize("idle", [["--formats", "png"], ["--seed", "3"]])
def test_what_is_said_of_images_is_refused_where_none_are_written(
    idle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "runs/none", "--images", "0", *idle])
    assert ended.value.code == 2
    assert "--images 0 writes none" in capsys.readouterr().err


def test_a_negative_number_of_studies_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = federation(443, serve={"superlink": free_port()})
    provision(settings, Places(tmp_path / "provision"))
    file = tmp_path / "federation.yaml"
    file.write_text(settings.model_dump_json())
    with pytest.raises(SystemExit) as ended:
        main(["status", str(file), "--studies", "-1"])
    assert ended.value.code == 2
    assert "--studies -1: how many of the newest, 0 or more" in capsys.readouterr().err
