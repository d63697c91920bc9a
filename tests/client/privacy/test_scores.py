"""Figures on test patients with noise: what is added up, what it costs, and what the answer does not hold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from flwr.app import Message, RecordDict
from hospital import Hospital
from hypothesis import given, settings
from hypothesis import strategies as st
from opening import open_study, parts
from tiny import TINY, write_site
from torch import Tensor

from client.data.open_studies import OpenStudy
from client.hello.introduction import introduce
from client.privacy import scores
from client.privacy.budget import Budget, BudgetSpentError
from client.privacy.plan import planned_steps, study_plan
from client.privacy.questions import settle_test_set
from client.privacy.randomness import PrivateRandom
from client.privacy.scores import counts_of, noised_scores
from client.site import SiteSettings
from common.errors import PrivacyError, RefusalError
from common.protocol.actions import Action
from common.protocol.records import ARRAYS, CONFIG, Instruction, instruction_record, read_result, to_arrays
from common.results.classifier import ClassifierScores, SiteArms
from common.study.config import compose, to_yaml
from common.system.files import write_json
from common.training.build import build_classifier_trainer

DP = (
    "privacy=patient_dp",
    "privacy.expected_batch_size=2",
    "privacy.slices_per_patient=2",
    "study.arms=[real,synthetic]",
)
NOISED = compose([*TINY, *DP, "privacy.scores=noised"])
EXACT = compose([*TINY, *DP])
PLAIN = compose([*TINY])
OWN: dict[str, Any] = {"epsilon": 20.0, "patients": 4, "shares": {"train": 0.4, "test": 0.6}}

slices = st.lists(
    st.tuples(st.booleans(), st.one_of(st.floats(0, 1), st.just(0.5)), st.integers(0, 5)), min_size=1, max_size=40
)


def naive(truth: list[bool], probability: list[float], patient: list[int]) -> npt.NDArray[np.float64]:
    """By pandas: the share of each patient's slices in each cell, summed over patients."""
    table = pd.DataFrame({"truth": truth, "called": [value >= 0.5 for value in probability], "patient": patient})
    cell = {(True, True): "tp", (False, True): "fp", (False, False): "tn", (True, False): "fn"}
    table["cell"] = [cell[row.truth, row.called] for row in table.itertuples()]
    shares = pd.crosstab(table["patient"], table["cell"], normalize="index").reindex(columns=["tp", "fp", "tn", "fn"])
    return np.asarray(shares.fillna(0.0).sum(), dtype=np.float64)


@given(slices)
@settings(max_examples=60, deadline=None)
def test_the_sums_are_those_that_pandas_computes(rows: list[tuple[bool, float, int]]) -> None:
    truth, probability, patient = ([row[column] for row in rows] for column in range(3))
    np.testing.assert_allclose(counts_of(truth, probability, patient), naive(truth, probability, patient), atol=1e-12)


@given(slices, st.integers(1, 400))
@settings(max_examples=200, deadline=None)
def test_one_patient_changes_the_sums_by_at_most_one(rows: list[tuple[bool, float, int]], times: int) -> None:
    # However many slices one of them has.
    rows = [*rows, *[rows[0]] * times]
    truth, probability, patient = (np.array([row[column] for row in rows]) for column in range(3))
    whole = counts_of(truth, probability, patient)
    assert whole.sum() == pytest.approx(len(set(patient.tolist())))
    for absent in set(patient.tolist()):
        kept = patient != absent
        left = counts_of(truth[kept], probability[kept], patient[kept]) if kept.any() else np.zeros(4)
        assert np.linalg.norm(whole - left) <= 1 + 1e-9


def test_a_patient_with_all_slices_in_one_cell_changes_them_by_one() -> None:
    assert np.linalg.norm(counts_of([1, 1, 1], [0.9, 0.8, 0.7], [0, 0, 0])) == 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    (folder / "cache").mkdir()
    return write_site(folder / "data", 10, seed=1)


def session_at(folder: Path, data: Path, study: Any = NOISED, run: str = "run", **own: Any) -> OpenStudy:
    there = {
        "name": "north",
        "reader": "brats",
        "organ": "brain",
        "path": data,
        "folder": folder / "site",
        "cache_dir": data.parent / "cache",
        "threads": 1,
        "privacy": {**OWN, **own},
    }
    return open_study(SiteSettings.model_validate(there), study, run)


def hospital_at(folder: Path, data: Path, roles: tuple[str, ...] = ("train", "evaluate"), **changes: Any) -> Hospital:
    for name in ("data", "cache"):
        if not (folder / name).exists():
            (folder / name).symlink_to(data.parent / name)
    return Hospital(folder, roles=list(roles), **{"privacy": OWN, **changes})


def classifier_weights(study: Any = NOISED) -> dict[str, Tensor]:
    return build_classifier_trainer(
        study, device=torch.device("cpu"), weights=study.weights, total_steps=1
    ).shared_arrays()


def ask(site: Hospital, study: Any, phase: str = "federated/real", run: str = "demo", **more: Any) -> Message:
    arm = phase.partition("/")[2]
    given = {"run": run, "phase": phase, "arm": arm, "experiment": to_yaml(study, leaving=True), **more}
    content = RecordDict({CONFIG: instruction_record(Instruction(**given))})
    content[ARRAYS] = to_arrays(classifier_weights(study))
    return site.ask(Action.EVALUATE, content)


def told(reply: Message) -> ClassifierScores:
    assert not reply.has_error(), reply.error
    return read_result(reply.content, SiteArms).arms["model"]


def exact(site: Hospital, arm: str = "real", run: str = "demo") -> ClassifierScores:
    """What the site keeps to itself."""
    whole = json.loads((site.settings.run_folder(run) / "results" / "federated_arms.json").read_text())[arm]
    return ClassifierScores.model_validate(whole)


def charges(settings_of: SiteSettings, run: str = "demo") -> list[tuple[str, float, int]]:
    return [(one.name, one.q, one.steps) for one in Budget(settings_of).spent(run)]


def some_probability(session: OpenStudy, seed: int = 1) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(size=len(session.data.test))


def noised(session: OpenStudy, phase: str, probability: npt.NDArray[np.float64]) -> ClassifierScores | None:
    return noised_scores(session.data, session.work, phase, session.data.test, probability, PrivateRandom)


def with_noise(session: OpenStudy, sigma: float) -> None:
    """A plan that was kept: as if the study had that much left."""
    steps = planned_steps(session.data, 4)
    write_json(
        session.work.folder / "state" / session.study.run / "privacy.json",
        {"sigma": sigma, "rate": 0.5, "steps": steps},
    )


def test_with_little_noise_figures_are_near_those_of_the_sums(tmp_path: Path, data: Path) -> None:
    generous = compose([*TINY, *DP, "privacy.scores=noised", "privacy.epsilon=1e12"])
    session = session_at(tmp_path, data, generous, epsilon=1e13)
    with_noise(session, 1e-4)
    probability = some_probability(session)
    found = noised(session, "federated/real", probability)
    assert found is not None
    tp, fp, tn, fn = counts_of(session.data.test.tumour_class(), probability, session.data.test.owner)
    expected = {
        "accuracy": (tp + tn) / (tp + fp + tn + fn),
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "f1": 2 * tp / (2 * tp + fp + fn),
    }
    for name, value in expected.items():
        interval = found[name]
        assert interval.value == pytest.approx(value, abs=1e-3)
        assert interval.low < interval.value < interval.high
        assert interval.low >= 0
        assert interval.high <= 1


def test_the_noise_has_the_planned_size(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_at(tmp_path, data)
    sigma = study_plan(session.data, session.work, Budget(session.study.settings)).sigma
    probability = some_probability(session)
    noise: list[npt.NDArray[np.float64]] = []
    sums = counts_of(session.data.test.tumour_class(), probability, session.data.test.owner)
    kept = scores._draws

    def watched(noised: Any, size: float, stream: Any) -> Any:
        noise.append(noised - sums)
        assert size == sigma
        return kept(noised, size, stream)

    monkeypatch.setattr(scores, "_draws", watched)
    monkeypatch.setattr(Budget, "charge", lambda *_, **__: None)
    for _ in range(200):
        noised(session, "federated/real", probability)
    values = np.array(noise)
    assert values.shape == (200, 4)
    assert values.std() == pytest.approx(sigma, rel=0.12)
    assert abs(values.mean()) < 4 * sigma / np.sqrt(800)
    assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.3


def test_an_answer_is_noised_and_charged_as_one_step_in_which_everybody_takes_part(tmp_path: Path, data: Path) -> None:
    site = hospital_at(tmp_path, data)
    answer = told(ask(site, NOISED))
    assert charges(site.settings) == [("scores/federated/real", 1.0, 1)]
    assert answer["accuracy"].value != exact(site).value("accuracy")
    told(ask(site, NOISED, "federated/synthetic"))
    assert charges(site.settings) == [("scores/federated/real", 1.0, 1), ("scores/federated/synthetic", 1.0, 1)]


def test_the_charge_is_on_the_disk_before_any_figure_is_made(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_at(tmp_path, data)

    def broken(*_: Any) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(scores, "counts_of", broken)
    with pytest.raises(RuntimeError, match="killed"):
        noised(session, "federated/real", some_probability(session))
    assert charges(session.study.settings, "run") == [("scores/federated/real", 1.0, 1)]


def test_what_cannot_be_charged_is_not_told(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise BudgetSpentError

    monkeypatch.setattr(Budget, "charge", refused)
    reply = ask(hospital_at(tmp_path, data), NOISED)
    assert reply.error.reason == "hospital1: its privacy budget is spent"


def test_noised_figures_are_planned_with_the_trainings(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    planned = planned_steps(session.data, 4)
    assert {name: steps for name, steps in planned.items() if name.startswith("scores/")} == {
        "scores/federated/real": 1,
        "scores/federated/synthetic": 1,
    }
    plan = study_plan(session.data, session.work, Budget(session.study.settings))
    assert plan.steps == planned
    exact_plan = study_plan(*parts(session_at(tmp_path / "exact", data, EXACT)), Budget(session.study.settings))
    assert not any(name.startswith("scores/") for name in exact_plan.steps)
    assert plan.sigma > exact_plan.sigma  # they take a part of the same epsilon


def test_the_whole_plan_can_be_paid(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    budget = Budget(session.study.settings)
    plan = study_plan(session.data, session.work, budget)
    for name, steps in plan.steps.items():
        q = 1.0 if name.startswith("scores/") else plan.rate
        cap = NOISED.privacy.epsilon * (1 - NOISED.privacy.reserve)
        budget.charge(run="run", mechanism=name, sigma=plan.sigma, q=q, steps=steps, run_cap=cap + 1e-6)


def test_scores_that_were_not_planned_are_refused(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    with pytest.raises(RefusalError, match="had not announced"):
        noised(session, "federated/real_synthetic", some_probability(session))
    assert charges(session.study.settings, "run") == []


def test_a_site_without_a_budget_tells_no_noised_figure(tmp_path: Path, data: Path) -> None:
    reply = ask(hospital_at(tmp_path, data, ("evaluate",), privacy=None), NOISED)
    assert "no privacy guarantee can be given" in reply.error.reason


def test_a_site_that_only_evaluates_and_has_a_budget_tells_them(tmp_path: Path, data: Path) -> None:
    site = hospital_at(tmp_path, data, ("evaluate",))
    assert told(ask(site, NOISED)).value("accuracy") is not None
    assert charges(site.settings) == [("scores/federated/real", 1.0, 1)]


def test_a_repetition_has_fresh_noise_until_the_reserve_is_gone(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    probability = some_probability(session)
    found: list[ClassifierScores | None] = []

    def again_and_again() -> None:
        while len(found) < 500:
            found.append(noised(session, "federated/real", probability))

    with pytest.raises(BudgetSpentError, match="its reserve included"):
        again_and_again()
    assert len(found) >= 2
    assert len({str(answer) for answer in found}) == len(found)
    assert Budget(session.study.settings).epsilon() <= NOISED.privacy.epsilon


def test_the_same_question_twice_through_messages_is_charged_twice(tmp_path: Path, data: Path) -> None:
    site = hospital_at(tmp_path, data)
    once, twice = told(ask(site, NOISED)), told(ask(site, NOISED))
    assert once != twice
    assert charges(site.settings) == [("scores/federated/real", 1.0, 2)]


def test_a_hospital_that_wants_noise_gets_it_in_a_study_that_asks_for_none(tmp_path: Path, data: Path) -> None:
    site = hospital_at(tmp_path, data, privacy={**OWN, "scores": "noised"})
    answer = told(ask(site, EXACT))
    assert answer.value("auc") is None
    assert answer["accuracy"].value != exact(site).value("accuracy")
    assert charges(site.settings) == [("scores/federated/real", 1.0, 1)]


def test_exact_figures_cost_nothing(tmp_path: Path, data: Path) -> None:
    site = hospital_at(tmp_path, data)
    assert told(ask(site, EXACT))["accuracy"].value == exact(site).value("accuracy")
    assert charges(site.settings) == []


@pytest.mark.parametrize(("action", "phase"), [(Action.EVALUATE, "federated/real"), (Action.ARMS, "arms")])
def test_a_hospital_that_wants_noise_tells_nothing_in_a_study_that_is_not_private(
    tmp_path: Path, data: Path, action: Action, phase: str
) -> None:
    site = hospital_at(tmp_path, data, privacy={**OWN, "scores": "noised", "without": "allow"})
    given = {"run": "demo", "phase": phase, "experiment": to_yaml(PLAIN, leaving=True)}
    content = RecordDict({CONFIG: instruction_record(Instruction(**given))})
    content[ARRAYS] = to_arrays(classifier_weights(PLAIN))
    reply = site.ask(action, content)
    assert reply.error.reason == "hospital1: it tells noised figures only, and the study is not private"


def test_a_noised_answer_holds_four_figures_and_nothing_else(tmp_path: Path, data: Path) -> None:
    site = hospital_at(tmp_path, data, declare_counts=True)
    told(ask(site, NOISED))
    reply = ask(site, NOISED, "federated/synthetic")
    assert set(reply.content) == {CONFIG}
    result = read_result(reply.content, SiteArms)
    left = result.arms["model"].model_dump(exclude_none=True, exclude_defaults=True)
    assert set(left) == {"figures"}
    assert [one["metric"] for one in left["figures"]] == ["accuracy", "precision", "recall", "f1"]
    assert set().union(*left["figures"]) == {"metric", "value", "low", "high", "standard_error"}
    assert result.model_dump(exclude={"arms"}, exclude_defaults=True, exclude_none=True) == {}
    # The site keeps the rest for its own report: a gain over the classifier of real slices among it.
    assert exact(site, "synthetic")["accuracy", "", "real_only"].value is not None
    assert exact(site, "synthetic").patients == 6


def test_one_patient_who_leaves_changes_a_noised_sum_by_that_patient_alone(tmp_path: Path, data: Path) -> None:
    """Whoever is left out beside, so that figures without noise do not differ in one, would not be paid for."""
    site = hospital_at(tmp_path, data)
    told(ask(site, NOISED))
    before = scored_patients(site, "demo")
    listed = tmp_path / "patients.txt"
    listed.write_text("\n".join(sorted({path.name for path in data.iterdir()} - {sorted(before)[0]})))
    site = hospital_at(tmp_path, data, patients=listed)
    told(ask(site, NOISED, run="another"))
    assert before - scored_patients(site, "another") == {sorted(before)[0]}


def scored_patients(site: Hospital, run: str) -> set[str]:
    table = pd.read_csv(site.settings.run_folder(run) / "results" / "predictions.csv")
    return set(table[table["scope"] == "federated"]["patient"])


def test_whether_a_noised_answer_is_empty_does_not_tell_how_many_there_are(tmp_path: Path, data: Path) -> None:
    assert told(ask(hospital_at(tmp_path, data, min_cell=7), NOISED)).value("accuracy") is not None


def test_hello_says_nothing_of_test_patients_where_their_figures_are_noised(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    few = session.study.settings.model_copy(update={"min_cell": 7})
    assert introduce(*parts(open_study(few, NOISED, "run"))).notes == introduce(session.data, session.work).notes


def test_a_plan_that_was_damaged_is_refused(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    with_noise(session, 0.0)
    with pytest.raises(PrivacyError, match="noise"):
        noised(session, "federated/real", some_probability(session))
    settle_test_set(session.data, told=True)
    assert charges(session.study.settings, "run") == []


def test_noised_sums_lie_on_a_grid_that_tells_nothing_of_the_counts(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last bits of a sum of counts and noise would tell which counts it can be a sum of."""
    seen: list[npt.NDArray[np.float64]] = []
    draws = scores._draws

    def watched(noised: npt.NDArray[np.float64], *rest: Any) -> Any:
        seen.append(noised)
        return draws(noised, *rest)

    monkeypatch.setattr(scores, "_draws", watched)
    session = session_at(tmp_path, data)
    told = noised(session, "federated/real", some_probability(session))
    assert told is not None
    (sums,) = seen
    assert np.array_equal(sums * scores.GRID, np.round(sums * scores.GRID))
    assert len(told.figures) == 4
    for one in told.figures:
        for number in (one.value, one.low, one.high, one.standard_error):
            assert number == round(number, scores.DIGITS)
