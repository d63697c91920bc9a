"""BraTS on disk: one folder a case, one NIfTI file a contrast, one for the tumour mask."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.patient import Patient, StudyLocation
from common.imaging.public_names import patient_of
from common.imaging.readers.brats_labels import LABEL_4, numbering_of, tumour_labels
from common.imaging.readers.case_files import (
    MASK,
    Named,
    beside,
    by_role,
    cases_in,
    find_cases,
    masklike,
    named,
    suggestion,
)
from common.imaging.readers.nifti_grid import check_orientation
from common.imaging.readers.nifti_volume import guesses, open_case, stacked, whole_numbers
from common.imaging.remarks import Remark

MRI_CONTRASTS = ("t1", "t1ce", "t2", "flair")
TUMOUR_FREE = ("allow", "quarantine")
_NAMED = 3


@dataclass(frozen=True)
class BratsReader:
    """Cases named as in BraTS 2021 (``<case>_t1ce.nii.gz``), as in BraTS since 2023 (``<case>-t1c.nii.gz``), or as in
    UPENN-GBM, UCSF-PDGM, MU-Glioma-Post and BIDS.

    Volumes of any size are turned to LPS. Values stay as stored: small values outside the brain, negative ones too,
    are real (they come from resampling) and are left to preprocessing. Labels are renumbered as in 2021, by what they
    mean in the set that a case is named after. A case without a mask is read with ``labels`` None. A mask in which
    every voxel is 0 is that of a patient without a tumour.

    The visits of one patient are told by the names of public sets: ``BraTS-GLI-00012-001`` is the second study of
    patient ``BraTS-GLI-00012``.

    Args:
        organ: ``brain``; there is no other BraTS organ.
        contrasts: the channels to read, each one of ``MRI_CONTRASTS``.
        tumour_free: ``allow`` patients with an all-zero mask, or ``quarantine`` them where every patient should
            have a tumour.
        mask_names: what the tumour masks are called beside the known names, without suffix, e.g. ``["*_mask"]``; an
            empty list says that there are none of other names. Without it a case is left out where a file without a
            known name may be its mask.
        label_4: what the value 4 is where it is told by no set: ``resection_cavity`` or ``enhancing``.
        orientation: where the three axes of an array point if its header does not say, e.g. ``LPS``.

    Raises:
        ConfigError: for an organ, contrast or option that BraTS does not have.
    """

    organ: str = "brain"
    contrasts: tuple[str, ...] = ("flair",)
    tumour_free: str = "allow"
    mask_names: tuple[str, ...] | None = None
    label_4: str = ""
    orientation: str = ""

    def __post_init__(self) -> None:
        if self.organ != "brain":
            raise ConfigError(f"reader brats: organ is {self.organ!r}, but BraTS shows the brain; write organ: brain")
        for contrast in self.contrasts:
            if contrast not in MRI_CONTRASTS:
                raise ConfigError(f"reader brats: unknown contrast {contrast!r}; known: {', '.join(MRI_CONTRASTS)}")
        if not self.contrasts:
            raise ConfigError(f"reader brats: no contrast was asked for; known: {', '.join(MRI_CONTRASTS)}")
        if self.tumour_free not in TUMOUR_FREE:
            raise ConfigError(f"reader brats: tumour_free is {self.tumour_free!r}; write {' or '.join(TUMOUR_FREE)}")
        if self.label_4 not in ("", *LABEL_4):
            raise ConfigError(f"reader brats: label_4 is {self.label_4!r}; write {' or '.join(LABEL_4)}")
        if isinstance(self.mask_names, str) or not all(isinstance(one, str) for one in self.mask_names or ()):
            raise ConfigError('reader brats: mask_names is a list of names, e.g. mask_names: ["*_mask"]')
        check_orientation("brats", self.orientation)

    def find(self, root: Path) -> list[StudyLocation]:
        """Every case in ``root`` itself and up to five levels below.

        Raises:
            DataError: if there is no such folder, or no case in it.
        """
        if not root.is_dir():
            state = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {state}; set the site's path to the folder that holds the BraTS cases")
        cases = find_cases(root, self.mask_names)
        if not cases:
            other = "; with its dataset.json it looks like nnU-Net's layout, which reader: nnunet reads"
            layout = other if (root / "dataset.json").exists() else ""
            raise DataError(
                f"no BraTS case in {root}: looked for <case>_flair.nii.gz, <case>-t2f.nii.gz and the like in it and "
                f"below; set the site's path to the folder that holds the case folders{layout}"
            )
        locations = [StudyLocation(patient_of(case.name), case.folder, case.files) for case in cases]
        return sorted(locations, key=lambda location: (location.patient, location.files))

    def read(self, location: StudyLocation) -> Patient:
        """One case, oriented to LPS.

        Raises:
            BadStudyError: a file is missing, unreadable or not a volume; grids differ; a value is NaN or infinite;
                an image is constant; the mask holds a value that is no label, or has a name that is not known.
        """
        paths = location.files or tuple(
            path for case in cases_in(location.path, self.mask_names) for path in case.files
        )
        files = by_role(paths, self.mask_names)
        names = {role: named(path, self.mask_names) or Named("", role, "") for role, path in files.items()}
        self._check_complete(location.path, files, names)
        masked = MASK in files
        case = open_case([files[role] for role in (*self.contrasts, *[MASK] * masked)], self.orientation)
        first, images = stacked(case[: len(self.contrasts)])
        labels, remarks = None, [*guesses(case), *_odd_names([*self.contrasts, *[MASK] * masked], names)]
        if masked:
            mask = case[-1].load()
            mask.check_same_grid(first)
            words = [one.word for role, one in names.items() if role != MASK]
            numbering = numbering_of(names[self.contrasts[0]].case, words, self.label_4)
            labels, told = tumour_labels(whole_numbers(mask), numbering, mask.name)
            remarks += told
            if self.tumour_free == "quarantine" and not labels.any():
                raise BadStudyError(f"{mask.name}: mask is empty")
        return Patient(
            patient=location.patient,
            organ=self.organ,
            contrasts=self.contrasts,
            images=images,
            labels=labels,
            spacing=first.spacing,
            source=location.path,
            spacing_known=first.grid.spacing_known,
            remarks=tuple(remarks),
        )

    def _check_complete(self, folder: Path, files: Mapping[str, Path], names: Mapping[str, Named]) -> None:
        """Refuses a case without a contrast, or with what may be its mask under a name that nobody has told."""
        missing = [contrast for contrast in self.contrasts if contrast not in files]
        unknown = beside(folder, files.values(), self.mask_names)
        if missing:
            held = ", ".join([*(one.word for one in names.values()), *(path.name for path in unknown)][:_NAMED])
            raise BadStudyError(f"contrast {', '.join(missing)} is missing" + f"; there are {held}" * bool(held))
        case = names[self.contrasts[0]].case
        maybe = masklike(unknown, case)
        if MASK not in files and maybe and self.mask_names is None:
            patterns = [suggestion(path, case) for path in maybe[:_NAMED]]
            raise BadStudyError(
                f"no tumour mask under a known name; beside the images lies {', '.join(patterns)}: if it is the mask, "
                f"write options.mask_names: [{', '.join(map(repr, patterns))}], else mask_names: []"
            )


def _odd_names(roles: Iterable[str], names: Mapping[str, Named]) -> list[Remark]:
    """What was found under a name that is not the usual one."""
    odd = [role for role in roles if names[role].rank]
    told = [f"{'mask' if role == MASK else role} from files named *_{names[role].word}" for role in odd]
    cases = {one.case for role, one in names.items() if role != MASK}
    if MASK in names and not names[MASK].listed and names[MASK].case not in cases:
        told.append("mask under another name than its images, as the only one in their folder")
    return [Remark("guess", one) for one in told]
