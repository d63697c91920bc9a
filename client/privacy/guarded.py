"""What a site tells where its answers are guarded (``StudyContext.guarded``): noise, counts, weights, intervals."""

from client.data.context import StudyContext
from client.privacy.roster import place_of, roster_key
from common.seeding import Label, derive_seed

RESAMPLES = 1000
"""Behind each interval of a guarded site."""


def tells_noised_scores(study: StudyContext) -> bool:
    """Whether figures on test patients leave with noise only: as the study or the hospital says."""
    own = study.settings.privacy
    return study.experiment.privacy.scores == "noised" or (own is not None and own.scores == "noised")


def tells_counts(study: StudyContext) -> bool:
    """Whether numbers of patients and slices may leave: where the hospital declares them, and no study could choose
    thresholds to count by."""
    return study.settings.declare_counts and not study.guarded


def public_examples(study: StudyContext) -> int:
    """The weight in averages of a guarded site: its declared number of patients, if it declares any, otherwise 1."""
    own = study.settings.privacy
    return own.patients if own is not None and study.settings.declare_counts else 1


def resampling(study: StudyContext) -> tuple[int, int]:
    """How many resamples of the test patients an interval is made of, and the seed that draws them.

    The ends of an interval are figures of resamples: who knows the seed, and asks for two of them, knows who was drawn
    how often. Where answers are guarded both are the site's own.
    """
    name = study.settings.name
    if not study.guarded:
        return study.experiment.study.bootstrap, derive_seed(study.experiment.seed, name, Label.BOOTSTRAP)
    return RESAMPLES, int(place_of(roster_key(study.settings), "bootstrap", name) * 2**56)
