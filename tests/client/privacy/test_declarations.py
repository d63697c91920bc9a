"""Whatever is not declared is refused in a private run, and code that forgets about privacy finds no patient."""

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from classifier_scores import told_scores
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from hospital import Hospital
from opening import open_study
from tiny import TINY, write_site
from torch import Tensor

import client
from client import app
from client.data.open_studies import OpenStudy
from client.data.request import Request
from client.privacy.admission import EMPTY
from client.privacy.budget import Budget
from client.privacy.checks import require_private_exchange
from client.privacy.declarations import ACTIONS, EXCHANGES, Declared, Leaves
from client.privacy.slices import for_noised_steps, kept_here
from client.study import trial
from client.training import rounds
from client.training.rounds import Update
from common.errors import PrivacyError, RefusalError
from common.protocol.actions import Action
from common.protocol.records import ARRAYS, CONFIG, METRICS, Instruction, instruction_record, to_arrays
from common.results.classifier import SiteArms
from common.study.config import compose, to_yaml
from common.training.build import build_classifier_trainer, build_gan_trainer
from common.training.trainer import Exchange

STUDY = compose([*TINY, "privacy=patient_dp", "privacy.expected_batch_size=2", "privacy.slices_per_patient=2"])
PLAIN = compose([*TINY])
OWN: dict[str, Any] = {"epsilon": 20.0, "patients": 4, "shares": {"train": 0.4, "test": 0.6}}
SILENCE = "hospital1: no privacy guarantee can be given for this training; its own log says why"
ROOM = Path(str(client.__file__)).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("declarations")
    (folder / "cache").mkdir()
    return write_site(folder / "data", 10, seed=1)


def hospital_at(folder: Path, data: Path, **own: Any) -> Hospital:
    for name in ("data", "cache"):
        if not (folder / name).exists():
            (folder / name).symlink_to(data.parent / name)
    site = Hospital(folder, share_site_model=True, may_release_synthetic=True, privacy={**OWN, **own})
    return site


def session_of(site: Hospital, experiment: Any = STUDY, run: str = "demo") -> OpenStudy:
    return open_study(site.settings, experiment, run)


def weights_for(action: Action) -> Mapping[str, Tensor]:
    if action in (Action.TRAIN_CLASSIFIER, Action.EVALUATE):
        return build_classifier_trainer(
            STUDY, device=torch.device("cpu"), weights=STUDY.weights, total_steps=1
        ).shared_arrays()
    return build_gan_trainer(STUDY, "cgan", device=torch.device("cpu"), weights=STUDY.weights).shared_arrays()


ASKED: dict[Action, dict[str, Any]] = {
    Action.HELLO: {"phase": "hello"},
    Action.TRAIN_GAN: {"phase": "gan/cgan", "model": "cgan", "server-round": 1},
    Action.SYNTHESISE: {"phase": "synthesis", "model": "cgan"},
    Action.ARMS: {"phase": "arms"},
    Action.SITE_MODEL: {"phase": "cross_site/hospital1"},
    Action.TRAIN_CLASSIFIER: {"phase": "classifier/real", "arm": "real", "server-round": 1},
    Action.EVALUATE: {"phase": "federated/real", "arm": "real"},
    Action.RELEASE: {"phase": "proxies", "model": "cgan"},
    Action.TAKE_PROXIES: {"phase": "proxies", "model": "cgan"},
    Action.PRIVACY: {"phase": "privacy"},
}


def ask(site: Hospital, action: Action, experiment: Any = STUDY) -> Message:
    given = {"run": "demo", "experiment": to_yaml(experiment, leaving=True), **ASKED[action]}
    content = RecordDict({CONFIG: instruction_record(Instruction(**given))})
    content[ARRAYS] = to_arrays(weights_for(action))
    return site.ask(action, content)


def paid(site: Hospital) -> int:
    return len(Budget(site.settings).ledger.entries())


def test_every_action_and_every_exchange_is_declared() -> None:
    assert set(ACTIONS) == set(Action) == set(ASKED)
    assert set(EXCHANGES) == set(Exchange)
    # What trains sends what is noised, or nothing.
    assert {ACTIONS[action].leaves for action in Action if ACTIONS[action].trains} == {
        Leaves.NOISED,
        Leaves.NOTHING,
        Leaves.REFUSED,
    }
    assert all(ACTIONS[action].tests for action in Action if ACTIONS[action].leaves is Leaves.TEST)


def test_every_action_that_the_app_answers_is_declared_and_every_declared_one_is_answered() -> None:
    answered = set(app.make_app(app.site_from_node_config)._registered_funcs)
    assert answered == {action.value for action in ACTIONS}


@pytest.mark.parametrize("action", Action)
def test_an_action_that_is_not_declared_is_refused_in_a_private_run(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    monkeypatch.delitem(ACTIONS, action)  # type: ignore[arg-type]
    site = hospital_at(tmp_path, data)
    reply = ask(site, action)
    assert reply.error.reason == "hospital1: it does not answer this in a private study"
    assert paid(site) == 0
    assert not (site.settings.run_folder("demo") / "results").exists()


@pytest.mark.parametrize("action", Action)
def test_an_action_that_is_not_declared_counts_as_training_at_a_site_that_trains_privately_only(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    monkeypatch.delitem(ACTIONS, action)  # type: ignore[arg-type]
    reply = ask(hospital_at(tmp_path, data), action, PLAIN)
    assert "it trains with differential privacy only" in reply.error.reason


@pytest.mark.parametrize("exchange", Exchange)
def test_an_exchange_that_is_not_declared_is_refused(monkeypatch: pytest.MonkeyPatch, exchange: Exchange) -> None:
    monkeypatch.delitem(EXCHANGES, exchange)  # type: ignore[arg-type]
    with pytest.raises(RefusalError, match="a private study exchanges no"):
        require_private_exchange(exchange)


def test_gradients_of_single_steps_are_exchanged_in_no_private_study() -> None:
    for exchange in Exchange:
        if exchange is Exchange.GRADIENTS:
            with pytest.raises(RefusalError):
                require_private_exchange(exchange)
        else:
            require_private_exchange(exchange)


Answer = Callable[[Request, RecordDict], RecordDict]


def with_arrays(content: RecordDict) -> None:
    content[ARRAYS] = to_arrays({"patients": torch.ones(2)})


def with_metrics(content: RecordDict) -> None:
    content[METRICS] = MetricRecord({"num-examples": 3})


def with_a_result(content: RecordDict) -> None:
    content[CONFIG]["result"] = '{"loss": 0.25}'


def with_a_key(content: RecordDict) -> None:
    content[CONFIG]["loss"] = 0.25


def with_another_record(content: RecordDict) -> None:
    content["more"] = ConfigRecord({"loss": 0.25})


def with_losses(content: RecordDict) -> None:
    content[METRICS] = MetricRecord({"num-examples": 1, "loss.generator": 0.25})


TOO_MUCH: dict[Callable[[RecordDict], None], tuple[Action, ...]] = {
    with_arrays: (Action.HELLO, Action.SYNTHESISE, Action.ARMS, Action.EVALUATE, Action.TAKE_PROXIES, Action.PRIVACY),
    with_metrics: (Action.HELLO, Action.SYNTHESISE, Action.ARMS, Action.EVALUATE, Action.RELEASE, Action.TAKE_PROXIES),
    with_a_result: (Action.SYNTHESISE, Action.ARMS, Action.TAKE_PROXIES, Action.TRAIN_GAN, Action.RELEASE),
    with_a_key: tuple(action for action in Action if action is not Action.SITE_MODEL),
    with_another_record: tuple(action for action in Action if action is not Action.SITE_MODEL),
    with_losses: (Action.TRAIN_GAN, Action.TRAIN_CLASSIFIER),
}
HANDLERS = {
    Action.HELLO: "_hello",
    Action.TRAIN_GAN: "_train_gan",
    Action.SYNTHESISE: "_synthesise",
    Action.ARMS: "_arms",
    Action.TRAIN_CLASSIFIER: "_train_classifier",
    Action.EVALUATE: "_evaluate",
    Action.RELEASE: "_release",
    Action.TAKE_PROXIES: "_take_proxies",
    Action.PRIVACY: "_privacy",
}


def answering(add: Callable[[RecordDict], None]) -> Answer:
    """A handler that pays a step where that is asked for, and adds something to a plain answer."""

    def handler(asked: Request, _: RecordDict) -> RecordDict:
        instruction = asked.instruction
        content = app._content(asked)
        if ACTIONS[Action(ASKED_BY_PHASE[instruction.phase])].leaves is Leaves.NOISED:
            Budget(asked.study.settings).charge(
                run=instruction.run, mechanism="a step", sigma=50.0, q=0.5, steps=1, run_cap=8.0
            )
        add(content)
        return content

    return handler


ASKED_BY_PHASE = {str(given["phase"]): action for action, given in ASKED.items() if action is not Action.TAKE_PROXIES}


def nothing_more(content: RecordDict) -> None:
    return None


@pytest.mark.parametrize("action", HANDLERS)
def test_a_plain_answer_leaves(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, action: Action) -> None:
    monkeypatch.setattr(app, HANDLERS[action], answering(nothing_more))
    assert not ask(hospital_at(tmp_path, data), action).has_error()


@pytest.mark.parametrize(
    ("add", "action"),
    [(add, action) for add, actions in TOO_MUCH.items() for action in actions],
    ids=lambda value: str(getattr(value, "__name__", value)),
)
def test_an_answer_with_more_than_the_action_declares_does_not_leave(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    add: Callable[[RecordDict], None],
    action: Action,
) -> None:
    monkeypatch.setattr(app, HANDLERS[action], answering(add))
    reply = ask(hospital_at(tmp_path, data), action)
    assert reply.error.reason == SILENCE
    assert not reply.has_content()


def test_losses_of_a_real_private_training_would_not_leave(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rounds.train_gan

    def careless(*given: Any) -> Update:
        return Update(real(*given).arrays, {"generator": 0.25})

    site = hospital_at(tmp_path, data)
    monkeypatch.setattr(rounds, "train_gan", careless)
    assert ask(site, Action.TRAIN_GAN).error.reason == SILENCE
    assert paid(site) == 2
    monkeypatch.setattr(rounds, "train_gan", real)
    assert set(ask(site, Action.TRAIN_GAN).content) == {CONFIG, ARRAYS, METRICS}


def test_what_a_site_finds_of_its_own_classifiers_would_not_leave(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = told_scores(accuracy=0.5)
    site = hospital_at(tmp_path, data)
    monkeypatch.setattr(trial, "run_arms", lambda *_: SiteArms(arms={"real": found}))
    assert ask(site, Action.ARMS).error.reason == SILENCE
    monkeypatch.setattr(trial, "run_arms", lambda *_: SiteArms.model_validate_json(EMPTY))
    assert set(ask(site, Action.ARMS).content) == {CONFIG}


@pytest.mark.parametrize("action", [Action.TRAIN_GAN, Action.TRAIN_CLASSIFIER])
def test_a_training_that_paid_for_nothing_is_not_answered(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    def free(asked: Request, arrays: dict[str, Tensor]) -> Update:
        return Update(arrays, {})

    site = hospital_at(tmp_path, data)
    monkeypatch.setattr(rounds, "train_gan", free)
    monkeypatch.setattr(rounds, "train_classifier", free)
    assert ask(site, action).error.reason == SILENCE
    assert paid(site) == 0


def test_what_is_declared_of_an_action_decides_and_not_its_handler(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACTIONS, Action.TRAIN_GAN, Declared(Leaves.NOTHING, trains=True))  # type: ignore[index]
    assert ask(hospital_at(tmp_path, data), Action.TRAIN_GAN).error.reason == SILENCE


def test_training_slices_are_not_to_be_had_from_the_session_of_a_private_run(tmp_path: Path, data: Path) -> None:
    session = session_of(hospital_at(tmp_path, data, without="allow"))
    with pytest.raises(PrivacyError, match=r"client\.privacy\.slices alone"):
        _ = session.data.training
    for model in ("", "cgan"):
        with pytest.raises(PrivacyError, match=r"client\.privacy\.slices alone"):
            session.data.training_for(model)
    assert len(for_noised_steps(session.data, "cgan")) == len(kept_here(session.data))


def test_nor_in_another_run_at_a_site_that_trains_privately_only(tmp_path: Path, data: Path) -> None:
    session = session_of(hospital_at(tmp_path, data), PLAIN)
    with pytest.raises(RefusalError, match="differential privacy only"):
        _ = session.data.training
    with pytest.raises(RefusalError, match="differential privacy only"):
        session.data.training_for("cgan")
    allowed = session_of(hospital_at(tmp_path, data, without="allow"), PLAIN)
    assert len(allowed.data.training) == len(allowed.data.training_for("cgan")) > 0


# What follows reads the source: a module that is added has to be looked at by whoever extends a list.


def modules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(ROOM.rglob("*.py")):
        yield f"client/{file.relative_to(ROOM).as_posix()}", ast.parse(file.read_text(encoding="utf-8"))


def named_in(tree: ast.AST) -> set[str]:
    """Every name, attribute and imported name in a module; not what its texts say."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.name.rpartition(".")[2] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
    return found


def users_of(*names: str) -> set[str]:
    return {module for module, tree in modules() if named_in(tree) & set(names)}


def callers_of(method: str) -> set[str]:
    """Modules that call a method of that name on whatever."""
    return {
        module
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method
    }


def test_unguarded_training_slices_are_used_in_two_places() -> None:
    assert users_of("unguarded_training", "_slices_for") <= {"client/data/site_data.py", "client/privacy/slices.py"}
    assert "client/privacy/slices.py" in users_of("unguarded_training")


SLICES_OF_A_COHORT = {
    "client/data/site_data.py": "training, test and left-out slices; who hands them on is tested above",
    "client/hello/introduction.py": "counts for the summary, which stays at the hospital",
    "client/doctor/examine.py": "counts for the hospital's own page; no coordinator asks for it",
    "client/privacy/questions.py": "digests of test patients, which stay at the hospital",
}


def test_slices_are_asked_of_a_cohort_where_it_is_known_why() -> None:
    assert callers_of("slices") == set(SLICES_OF_A_COHORT)


COHORTS = {
    "client/data/cohorts.py": "the study's own contrasts",
    "client/data/site_data.py": "those of a GAN that looks at others",
    "client/data/preparation.py": "fills the cache; nothing is read from it",
}


def test_cohorts_in_other_contrasts_are_opened_where_it_is_known_why() -> None:
    assert callers_of("cohort_in") == set(COHORTS)
    assert users_of("prepare_cohort") == {"client/data/cohorts.py"}


PATIENTS_OPENED = {
    "client/doctor/pictures.py": "pictures for the hospital's own page",
    "client/doctor/findings.py": "how much of the grey values is clipped, for the same page",
    "client/data/joining.py": "whether two names show the same slices; then they are one patient, before any is drawn",
}


def opens_a_patient(tree: ast.AST) -> bool:
    """Whether something is opened without an argument, as prepared patients are and files are not, by its name."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "open"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "patient"
        for node in ast.walk(tree)
    )


def test_single_patients_are_opened_where_it_is_known_why() -> None:
    assert {module for module, tree in modules() if opens_a_patient(tree)} == set(PATIENTS_OPENED)


def test_slices_for_noised_steps_are_taken_by_trainings_and_made_sources_alone() -> None:
    assert users_of("for_noised_steps") == {
        "client/privacy/slices.py",
        "client/privacy/made.py",
        "client/training/rounds.py",
    }


KEPT_HERE = {
    "client/privacy/slices.py": "defines it",
    "client/privacy/made.py": "images that are made here and stay",
    "client/study/arms.py": "the same in another study, and what classifiers of this site alone learn from",
    "client/study/synthesis.py": "the local generator",
    "client/study/trial.py": "how many steps an arm takes",
    "client/study/gallery.py": "pictures for the site's report",
    "client/training/local_generator.py": "a GAN of this site alone",
    "client/study/explanations.py": "looks into classifiers of this site alone, for its report",
    "client/study/nearest.py": "whether synthetic lesions are copies, for the site's report",
    "client/hello/introduction.py": "the number of slices, in a study that is not private",
    "client/hello/tasks.py": "whether there is something to train on; in a private study the classes are not looked at",
    "client/policy/updates.py": "whether enough stand behind an update without privacy; a refusal tells no number",
}


def test_slices_that_stay_here_are_looked_at_where_it_is_known_why() -> None:
    assert users_of("kept_here") == set(KEPT_HERE)


def test_no_module_outside_the_room_takes_a_private_step() -> None:
    outside = {module for module in users_of("PrivateStep", "train_privately") if "/privacy/" not in module}
    assert outside == set()
    # The module is not imported whole either, from which both could be had.
    whole = {
        module
        for module, tree in modules()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(alias.name.startswith("client.privacy") for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "client.privacy")
    }
    assert {module for module in whole if "/privacy/" not in module} == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(s):\n    return s.unguarded_training()", True),
        ("from client.data.site_data import unguarded_training as t", True),
        ("take = getattr", False),
        ('"""unguarded_training"""', False),
        ("# unguarded_training", False),
    ],
)
def test_the_search_finds_a_use_however_it_is_written(text: str, found: bool) -> None:
    assert ("unguarded_training" in named_in(ast.parse(text))) is found


def test_nothing_is_looked_up_by_a_name_that_the_search_would_not_see() -> None:
    """``getattr(session, "unguarded_training")`` is a text to it."""
    hidden = {"unguarded_training", "_slices_for", "for_noised_steps", "PrivateStep", "train_privately"}
    for module, tree in modules():
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str}
        assert not texts & hidden, module
