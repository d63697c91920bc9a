"""No patient stands on both sides: looked at before anything is trained or scored, by name and by what slices show.

The split is made by patient, so a leak means that something broke: one patient under two names, a cache of another
split, images of a generator that had learnt from a patient who is to test it.
"""

from collections.abc import Iterable

from client.data.near_copies import Pair
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.study.arms import learnt_from
from common.errors import RefusalError
from common.imaging.split import Split


def require_no_leak(data: SiteData, work: WorkFolder) -> None:
    """Refuses to go on where a patient of this trial both trains and tests; the names stay in the site's own log.

    Looked at: the names of training patients and of those that the kept images' generators learnt from at this site,
    against test patients and those of the fold that is left out; and whether two slices of the two sides are equal in
    every pixel.

    Raises:
        RefusalError: with a text that may leave.
    """
    held_out = [*data.split.test, *(data.split.validation if data.study.trial.fold else ())]
    shared = set(held_out) & {*data.split.train, *learnt_from(work)}
    names = shared | data.twins
    if names:
        work.log.error("patients that train and test", extra={"fields": {"patients": sorted(names)}})
        if data.study.guarded and not shared:
            # A refusal would speak of patients: the study chooses how slices look, and when two look alike. By name
            # nobody is on both sides, which the roster sees to; under two names one person is two patients.
            return
        raise RefusalError(
            "a patient would both train and test; its own log says which"
            if shared
            else "a patient would both train and test: two of them show the same slice; its hospital's doctor names "
            "them, and duplicates in its site.yaml says what becomes of them"
        )


def leaking(pairs: Iterable[Pair], split: Split, fold: bool) -> list[Pair]:
    """Which patients that share equal slices :func:`require_no_leak` would refuse, by their part of the split.

    Args:
        pairs: patients that share a slice.
        split: of one trial.
        fold: whether that trial leaves a fold out, which is its validation part.
    """
    parts = {"train": set(split.train), "fold": set(split.validation) if fold else set(), "test": set(split.test)}
    place = {name: part for part, names in parts.items() for name in names}
    return [
        pair
        for pair in pairs
        if pair.exact and pair.one in place and pair.other in place and place[pair.one] != place[pair.other]
    ]
