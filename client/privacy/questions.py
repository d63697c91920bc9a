"""Questions about test patients: which of them are scored, and how many answers leave a site.

Figures on test patients are told without noise, over at least ``min_cell`` of them. Two sets of them that differ in one
patient would give that patient's own figures by subtraction, and enough answers about one set would give everything.
So at a site with a privacy budget, and in every private run:

- the set that is scored is the whole test part and, where figures are not noised, stays what it was unless at least
  ``min_cell`` patients join or leave at once, and none or ``min_cell`` of them are seen otherwise than before, by their
  slices or classes;
- a question is one classifier in one phase of the run; the same weights may be asked about again, others may not, and
  classifiers of this site alone are others as soon as they learn from other images;
- which phases there are follows from the configuration that the run is bound to;
- over all runs, no more are answered than the hospital allows.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from client.data.context import StudyContext
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.privacy.roster import Role, roster_of_tests
from client.site import QUESTIONS
from common.errors import PrivacyError, RefusalError
from common.imaging.slices import Slices
from common.protocol.records import Instruction
from common.study.experiment import Experiment
from common.study.phases import Phase, PhaseKind
from common.study.trials import arms_in_federation, arms_of, trials_of
from common.system.array_files import read_arrays
from common.system.file_lock import locked
from common.system.files import read_json
from common.system.private_files import make_private_folder, write_private

TUMOUR = "t"
"""What a patient with a tumour is marked with."""

Members = Mapping[str, str]
"""Test patients, each with a digest of its slices' classes, which begins with ``t`` if there is a tumour among them."""


def settle_test_set(data: SiteData, *, told: bool) -> Slices:
    """Decides which test patients this study's figures are about, and returns their slices.

    Args:
        data: of the trial.
        told: whether figures about them leave; then the set is kept on the disk, for later ones to be compared with.

    Raises:
        RefusalError: if no set of them is far enough from those of earlier figures. The text may leave.
        PrivacyError: if the record cannot be relied on.
    """
    if not data.split.test:
        return data.test
    roster = roster_of_tests(data.study.settings, data.split.test)
    # At a site without a budget nothing but the roster says who trained here in earlier studies.
    tests = [name for name in data.split.test if roster.roles[name] is Role.TEST]
    if not tests:
        return _slices_of(data, ())
    present = _members(data, tests)
    with _record(data.study) as (record, keep):
        earlier = [dict(one) for one in record["sets"]]
        chosen = choose_set(present, earlier, data.study.min_cell, roster.order)
        if chosen is None:
            raise RefusalError(
                "its test patients are too nearly those of an earlier study: the difference would be the figures of a "
                "few; it evaluates again when more of them have changed"
            )
        if told and chosen not in earlier:
            record["sets"].append(dict(sorted(chosen.items())))
            keep()
    return _slices_of(data, tuple(name for name in data.split.test if name in chosen))


def _slices_of(data: SiteData, names: tuple[str, ...]) -> Slices:
    return data.test if names == data.split.test else data.cohort.slices(names)


def choose_set(
    present: Members, earlier: Sequence[Members], min_cell: int, order: Callable[[Sequence[str]], Sequence[str]]
) -> Members | None:
    """The test patients that may be scored: none of the earlier sets differs from it in one to ``min_cell - 1``.

    All that are present, if they may; else an earlier set that is still whole, so that new patients wait for others;
    else all that are present but for a few more, so that those who left are not alone.

    Args:
        present: all test patients, with a digest of what a study sees of each.
        earlier: the sets that figures were told about.
        min_cell: fewest patients by which two sets may differ.
        order: in which patients are left out, the same every time.

    >>> few = {name: "" for name in "abcdefgh"}
    >>> sorted(choose_set({**few, "new": ""}, [few], 3, sorted))  # one new patient waits
    ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
    >>> sorted(choose_set({name: "" for name in "bcdefgh"}, [few], 3, sorted))  # "a" does not leave alone
    ['d', 'e', 'f', 'g', 'h']
    """

    def enough(count: int) -> bool:
        return count == 0 or count >= min_cell

    def may(members: Members) -> bool:
        return all(all(map(enough, _differences(members, one))) for one in earlier)

    if may(present):
        return present
    # A hospital that has become stricter may have told of two that are too near each other now.
    whole = [one for one in earlier if one.items() <= present.items() and may(one)]
    if whole:
        return max(whole, key=len)
    left = list(order(sorted(present)))
    for count in range(1, len(left)):
        fewer = {name: present[name] for name in left[count:]}
        if may(fewer):
            return fewer
    return None


def _differences(one: Members, other: Members) -> list[int]:
    """By how many patients two sets differ: in who is there and in what is seen, each for itself (a study that sees
    everybody otherwise may still lack one alone), and of these again those with a tumour, behind whom recall stands."""
    apart = one.keys() ^ other.keys()
    otherwise = {name for name in one.keys() & other.keys() if one[name] != other[name]}
    tumour = {name for members in (one, other) for name, seen in members.items() if seen.startswith(TUMOUR)}
    return [len(some) for some in (apart, otherwise, apart & tumour, otherwise & tumour)]


def require_question(
    study: StudyContext, work: WorkFolder, instruction: Instruction, weights: Mapping[str, Tensor] | None
) -> None:
    """Counts a question about the test patients, before it is answered.

    Args:
        study: the trial that is asked about.
        work: its folder.
        instruction: its run and phase name the question.
        weights: of the classifier that is asked about; None: the site's own, of this trial and its images.

    Raises:
        RefusalError: if the study has no such question, it was asked with other weights, or there were too many. The
            text may leave.
        PrivacyError: if the record cannot be relied on.
    """
    phase = instruction.phase
    if not _is_question(study.experiment, phase, private=study.private):
        raise RefusalError("the study has no such question about test patients")
    meant = {
        trial.phase(f"federated/{arm}"): (trial, arm)
        for trial in trials_of(study.experiment)
        for arm in arms_of(study.experiment, trial)
    }
    trial, arm = meant.get(phase, (study.trial, instruction.arm))
    if study.trial != trial or instruction.arm not in ("", arm):
        raise RefusalError("it was asked one question under the name of another")
    digest = _digest(weights or {})
    if weights is None:
        # The generator is sent by the coordinator: with other images there are other classifiers to tell of.
        digest = _images_digest(work)
        phase = f"{phase} ({study.trial.name or 'first'}, {digest})"
    own = study.settings.privacy
    most = own.questions if own is not None else QUESTIONS
    with _record(study) as (record, keep):
        asked = record["questions"].setdefault(instruction.run, {})
        if phase in asked:
            if asked[phase] != digest:
                raise RefusalError("it has answered this question about another classifier")
            return
        if sum(map(len, record["questions"].values())) >= most:
            raise RefusalError("it has answered as many questions about its test patients as its hospital allows")
        asked[phase] = digest
        keep()


def questions_of(experiment: Experiment, *, private: bool) -> list[str]:
    """The phases in which a study asks about test patients, by its configuration alone; those of the cross-site matrix
    of a study that is not private are as many as there are sites, and not among them.

    >>> from common.study.config import compose
    >>> questions_of(compose(["model=[cgan]", "study.arms=[real,synthetic]"]), private=True)
    ['federated/real', 'federated/synthetic']
    """
    found = []
    for trial in trials_of(experiment):
        arms = [arm for arm in arms_of(experiment, trial) if arm in arms_in_federation(experiment)]
        found += [trial.phase(f"federated/{arm}") for arm in arms]
        if not private:
            found.append(trial.phase("arms"))
    return found


def _is_question(experiment: Experiment, phase: str, *, private: bool) -> bool:
    # Classifiers of single sites do not travel in a private study.
    return phase in questions_of(experiment, private=private) or (
        not private and Phase.parse(phase).kind == PhaseKind.CROSS_SITE
    )


def _members(data: SiteData, names: Sequence[str]) -> Members:
    slices = data.cohort.slices(names)
    classes = slices.tumour_class()
    seen = {patient.patient: classes[slices.owner == index] for index, patient in enumerate(slices.patients)}
    return {
        name: (TUMOUR if own.any() else "h") + hashlib.blake2b(own.tobytes(), digest_size=16).hexdigest()
        for name, own in seen.items()
    }


def _images_digest(work: WorkFolder) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for file in sorted((work.state / "images").glob("*.npz")):
        for name, array in sorted(read_arrays(file).items()):
            whole.update(f"{file.name}\x1f{name}\x1f{array.dtype}\x1f{array.shape}\x1f".encode())
            whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


def _digest(weights: Mapping[str, Tensor]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(weights.items()):
        whole.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1f".encode())
        whole.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


@contextmanager
def _record(study: StudyContext) -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    """What was told of test patients so far, locked, and how to keep it once it was added to."""
    # Of this node: others that share its ledger have test patients and answers of their own.
    folder = study.settings.folder / "privacy"
    make_private_folder(folder)
    file = folder / "test-patients.json"
    with locked(folder / "test-patients.lock"):
        record = _read(file)
        yield record, lambda: write_private(file, (json.dumps(record, indent=1) + "\n").encode(), replace=True)


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {"sets": [], "questions": {}}
    try:
        record = read_json(file)
        sets, questions = record["sets"], record["questions"]
        tables = [*sets, *questions.values()]
        if not (isinstance(sets, list) and all(isinstance(one, dict) for one in tables)):
            raise ValueError("of another form")
        if not all(isinstance(value, str) for one in tables for value in one.values()):
            raise ValueError("of another form")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PrivacyError(
            f"{file}: does not say what was told of test patients, so nothing more is told; put it back from a backup"
        ) from error
    return {"sets": sets, "questions": questions}
