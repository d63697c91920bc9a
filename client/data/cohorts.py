"""The site's patients, prepared as a study asks: once for each set of contrasts that one of its models looks at."""

from collections.abc import Callable
from functools import cached_property

from client.data.begun import Begun
from client.data.context import StudyContext
from client.data.joining import copies_of, join
from client.data.near_copies import Pair, joined
from client.site import SiteSettings, chosen_patients
from common.errors import DataError
from common.imaging.cohort import PreparedCohort
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.reader import Reader
from common.imaging.readers.registry import build_reader
from common.study.progress import Listener

MakeReader = Callable[[SiteSettings, tuple[str, ...]], Reader]
"""Makes the reader of a site's images in some contrasts."""


def reader_of(settings: SiteSettings, contrasts: tuple[str, ...]) -> Reader:
    """The reader that ``site.yaml`` names."""
    return build_reader(settings.reader, organ=settings.organ, contrasts=list(contrasts), options=settings.options)


class Cohorts:
    """Prepared patients, of every trial alike.

    Args:
        study: any trial of the study.
        begun: what the run began with here; None where no run begins, as with a command at the site.
        progress: is called for each patient that is prepared.
        make_reader: the site's own reader unless made-up patients are to be read.
    """

    def __init__(
        self,
        study: StudyContext,
        begun: Begun | None,
        progress: Listener | None = None,
        make_reader: MakeReader = reader_of,
    ) -> None:
        self.study = study
        self.begun = begun
        self._progress = progress
        self._make_reader = make_reader
        self._cohorts: dict[tuple[str, ...], PreparedCohort] = {}
        self._later: tuple[str, ...] = ()

    @cached_property
    def reader(self) -> Reader:
        """Of the study's own contrasts."""
        return self._make_reader(self.study.settings, self._own)

    @property
    def cohort(self) -> PreparedCohort:
        """The patients in the study's own contrasts; bad studies are in its quarantine list."""
        return self.cohort_in(self._own)

    def cohort_in(self, contrasts: tuple[str, ...]) -> PreparedCohort:
        """The same patients in these contrasts."""
        if contrasts not in self._cohorts:
            cohort = self._as_begun(contrasts)
            self._cohorts[contrasts] = join(cohort, joined(self.copies)) if self.joins else cohort
        return self._cohorts[contrasts]

    @property
    def later(self) -> tuple[str, ...]:
        """Names of patients that came after the run had begun, as far as cohorts were prepared."""
        return self._later

    @property
    def joins(self) -> bool:
        """Whether patients that show the same slices are one. Not where answers are guarded: who counts as a patient
        would depend on what others show, in the study's contrasts and steps."""
        return self.study.settings.duplicates == "join" and not self.study.guarded

    @cached_property
    def copies(self) -> tuple[Pair, ...]:
        """Patients that share slices in the study's own contrasts, which decide for all: a split holds in each."""
        return copies_of(self._as_begun(self._own) if self.joins else self.cohort)

    @property
    def has_masks(self) -> bool:
        """Whether tumours are outlined or stated; where answers are guarded, as the hospital says of its data set."""
        return self.study.settings.masks is not False if self.study.guarded else self.cohort.has_masks

    @property
    def _own(self) -> tuple[str, ...]:
        return tuple(self.study.organ.contrasts)

    def _as_begun(self, contrasts: tuple[str, ...]) -> PreparedCohort:
        cohort = self._usable(contrasts)
        if self.begun is None:
            return cohort
        cohort, later = self.begun.patients(cohort, guarded=self.study.guarded)
        self._later = later or self._later
        return cohort

    def _usable(self, contrasts: tuple[str, ...]) -> PreparedCohort:
        study = self.study
        try:
            return self._prepared(contrasts)
        except DataError:
            if not study.guarded or self.begun is None:
                raise
            # A folder that is not there, or holds nothing of this format, is an error whatever the study.
            self._make_reader(study.settings, contrasts).find(study.settings.path)
            # The study chooses contrasts and steps: whether somebody has them would be an answer about that patient.
            self.begun.log.exception("no patient can be used in this study; the coordinator is not told")
            least = study.organ.min_tumour_pixels
            return PreparedCohort(study.settings.organ, contrasts, (), (), min_tumour_pixels=least)

    def _prepared(self, contrasts: tuple[str, ...]) -> PreparedCohort:
        study, settings = self.study, self.study.settings
        return prepare_cohort(
            self._make_reader(settings, contrasts),
            settings.path,
            cache_dir=settings.cache_dir,
            organ=settings.organ,
            contrasts=list(contrasts),
            image=study.experiment.image,
            preprocessing=study.steps,
            min_tumour_pixels=study.organ.min_tumour_pixels,
            only=chosen_patients(settings),
            masks=self.has_masks if study.guarded else settings.masks,
            identifying_data=settings.identifying_data,
            progress=self._progress,
        )
