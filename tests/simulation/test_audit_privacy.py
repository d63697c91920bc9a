"""``audit-privacy`` from the command line: what it prints, what it finds, and one false-alarm level for all of it."""

import json
import re
from pathlib import Path

import pytest
from tiny import TINY

from client.privacy.audit import FALSE_ALARM, TESTS
from client.privacy.faults import Fault
from common.errors import ConfigError, PrivacyError
from common.results.privacy import AuditBound
from simulation.audit import audit_command

STUDY = [*TINY, "privacy=patient_dp", "federation.rounds=6", "classifier.federation.rounds=6"]
NETWORKS = ["gan/cgan/discriminator", "gan/cgan/generator", "classifier"]


def audit(plant: Fault, out: Path) -> list[AuditBound]:
    """What is found in twelve steps with the noise of a large hospital's study."""
    try:
        audit_command(STUDY, steps=12, canaries=1000, patients=100, plant=plant, out=out)
    finally:
        bounds = [AuditBound.model_validate(one) for one in json.loads(out.read_text())]
    return bounds


def test_a_sound_study_is_told_how_often_it_would_be_called_faulty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The level as stated would fail this test once in a few hundred times.
    monkeypatch.setattr("client.privacy.audit.FALSE_ALARM", FALSE_ALARM / 1000)
    bounds = audit(Fault.NONE, tmp_path / "bounds.json")
    assert [one.mechanism for one in bounds] == NETWORKS
    assert all(one.level == pytest.approx(FALSE_ALARM / 1000 / (3 * TESTS)) for one in bounds)
    told = capsys.readouterr().out
    assert f"3 training steps, {3 * TESTS} tests: together they call a sound installation faulty in at most" in told
    lines = [line for line in told.splitlines() if line.endswith(": holds")]
    assert len(lines) == 4
    assert "from message to answer: asked the same, two made-up hospitals" in lines.pop()
    for line in lines:
        assert re.search(r"a patient adds \S+ of the stated bound \(noticed from [\d.]+\)", line)
        assert re.search(r"noise has (0\.9|1\.0)\d of the stated size", line)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.HALF_NOISE, r"noise has 0\.(4[6-9]|5[0-4]) of the stated size"),
        (Fault.SAME_NOISE, "the noise of one step tells of another's"),
    ],
)
def test_a_planted_fault_is_named_for_every_network(fault: Fault, words: str, tmp_path: Path) -> None:
    with pytest.raises(PrivacyError, match="Do not train with this installation") as error:
        audit(fault, tmp_path / "bounds.json")
    assert all(f"{network}: " in str(error.value) for network in NETWORKS)
    assert len(re.findall(words, str(error.value))) == 3


def test_a_study_without_privacy_has_nothing_to_audit() -> None:
    with pytest.raises(ConfigError, match="without differential privacy"):
        audit_command(list(TINY), steps=1, canaries=20, patients=None, plant=Fault.NONE, out=None)
