"""Lesions put into healthy slices as the study would do it, so that nobody learns of it from its images."""

from client.data.site_data import SiteData
from client.study.placement import placed_inside
from common.errors import DataError, RefusalError
from common.placement import Placement
from common.seeding import Label, torch_generator
from common.synthesis.masks import Deformation
from common.synthesis.sources import InsertionSource

_TRIED = 64


def try_places(data: SiteData) -> Placement | None:
    """Where masks would come to lie in this site's healthy training slices; None where there are no masks or no room.

    None too where patients are private: then each one's lesions are public shapes in its own slices.
    """
    if data.study.private:
        return None
    try:
        source = InsertionSource(data.training)
        generator = torch_generator(data.study.experiment.seed, data.study.settings.name, Label.DOCTOR, Label.PLACES)
        places = source.places(_TRIED, Deformation(), generator)
    except (DataError, RefusalError):  # What keeps it from training is told elsewhere.
        return None
    return placed_inside(places.placed.labels, places.target.organ, places.moved_on)


def place_sentences(found: Placement) -> list[str]:
    """What is worth a look: lesions outside, and slices without room.

    >>> place_sentences(Placement(64, 60, 900, 880, 0))
    ['4 of 64 lesions would lie partly outside the organ.']
    """
    told = []
    if found.wholly_inside < found.lesions:
        outside = found.lesions - found.wholly_inside
        told.append(f"{outside} of {found.lesions} lesions would lie partly outside the organ.")
    if found.moved_on > found.lesions:
        told.append(
            f"Healthy slices have little room for this site's lesions: {found.moved_on} times another slice had to be "
            f"taken for {found.lesions} lesions. Look at the pictures: the outline of the organ or head may be wrong."
        )
    return told
