"""``oncofed-client prepare``: this site's studies become slices in its cache, before a study asks for them."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from client.data.context import LOCAL, StudyContext
from client.data.site_data import SiteData
from client.site import load_site
from client.site_paths import require_usable_paths
from common.errors import ConfigError, RefusalError
from common.figures.formatting import plural
from common.imaging.cohort import PreparedCohort
from common.imaging.patient import Quarantined
from common.imaging.remarks import unused_sentences
from common.study.config import compose, read_experiment
from common.study.experiment import Experiment
from common.system.logs import quiet_libraries
from common.system.outside import say
from common.system.terminal import counted


def study_to_join(overrides: Sequence[str], study: Path | None) -> Experiment:
    """The configuration of the study that this site may join.

    Args:
        overrides: ``key=value``, as ``oncofed-simulation`` takes them.
        study: a resolved configuration that a coordinator handed out, in place of overrides.

    Raises:
        ConfigError: if both are given, the file cannot be read, or a key or value is wrong.
    """
    if study is None:
        return compose(list(overrides))
    if overrides:
        raise ConfigError(f"--study and {overrides[0]}: give the coordinator's file or your own values, not both")
    return read_experiment(study)


def local_study(site: Path, overrides: Sequence[str], study: Path | None) -> StudyContext:
    """A study at this site alone, as a command asks for it.

    Raises:
        ConfigError: if ``site.yaml`` or the configuration is wrong.
    """
    quiet_libraries()
    settings = load_site(site)
    require_usable_paths(settings)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    return StudyContext(settings, study_to_join(overrides, study), LOCAL)


def prepare(site: Path, overrides: Sequence[str], study: Path | None) -> None:
    """Fills the cache and says what came of it.

    Raises:
        ConfigError: if ``site.yaml``, the configuration or the reader's options are wrong.
        DataError: if the data cannot be used.
    """
    joined = local_study(site, overrides, study)
    try:
        with counted("preparing", "patients", sys.stdout) as progress:
            cohort = prepare_in_all_contrasts(SiteData.of(joined, progress))
    except RefusalError as error:
        raise ConfigError(f"{error}; choose a study that is, e.g. organ=[{joined.settings.organ}]") from error
    except KeyboardInterrupt:
        say("interrupted: what was prepared is kept, and the same command goes on from there")
        raise
    slices = sum(patient.slices for patient in cohort.patients)
    say(f"{plural(len(cohort.patients), 'patient')} with {plural(slices, 'slice')} are ready for training")
    say(f"{plural(len(cohort.quarantine), 'study', 'studies')} in quarantine{':' if cohort.quarantine else ''}")
    for reason, studies in by_reason(cohort.quarantine).items():
        say(f"  {len(studies):>4}  {reason}")
    for question in cohort.questions:
        say(f"  is it a tumour? {question.about} ({question.count}): {' or '.join(question.options)} of site.yaml")
    for sentence in unused_sentences(cohort.remarks):
        say(f"not used: {sentence}")
    say(f"cache: {joined.settings.cache_dir}")


def prepare_in_all_contrasts(data: SiteData) -> PreparedCohort:
    """Fills the cache in all contrasts that this site would be asked for; returns the study's own cohort."""
    cohort = data.cohort
    for model in data.study.experiment.models if "train" in data.study.settings.roles else []:
        if (view := data.study.view(model)) is not None:
            data.cohorts.cohort_in(view.contrasts)
    return cohort


def by_reason(quarantine: Sequence[Quarantined]) -> dict[str, list[Quarantined]]:
    """The studies that were left out, by what is wrong with them, the most frequent reason first.

    A reason that begins with a file's name is counted without it.

    >>> bad = [Quarantined(name, Path(name), f"{name}.nii.gz: mask is empty") for name in ("ann", "bob")]
    >>> {reason: len(studies) for reason, studies in by_reason(bad).items()}
    {'mask is empty': 2}
    """
    groups: dict[str, list[Quarantined]] = {}
    for study in quarantine:
        file, _, rest = study.reason.partition(": ")
        groups.setdefault(rest if rest and "." in file and " " not in file else study.reason, []).append(study)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))
