"""``site.yaml``: a hospital's own file. It is typed, belongs to the hospital, and nothing in it leaves."""

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from client.audit.log import AuditFiles
from client.policy.hours import Hours
from client.privacy.ledger import LedgerFiles
from client.site_paths import with_whole_paths
from common.errors import ConfigError
from common.imaging.names import ORGANS
from common.protocol.actions import Action
from common.system.paths import Use
from common.system.safe_yaml import read_yaml, yaml_problem
from common.system.written import listed_names

QUESTIONS = 500
"""Answers about test patients that a hospital gives in all, unless it says otherwise."""


class Shares(BaseModel):
    """Which share of a hospital's patients trains, and which tests; what they leave of 1 does neither.

    A patient's role is decided once, by itself, so that the true shares lie around these.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: float = Field(default=0.8, ge=0, le=1)
    validation: float = Field(default=0.0, ge=0, le=1)
    test: float = Field(default=0.2, ge=0, le=1)

    @model_validator(mode="after")
    def _no_more_than_all(self) -> "Shares":
        if self.train + self.validation + self.test > 1 + 1e-9:
            raise ValueError("train, validation and test must not sum to more than 1")
        return self


class PrivacySettings(BaseModel):
    """The hospital's rules on its patients' privacy.

    Attributes:
        epsilon: cap over everything that is ever trained on these patients, by any study; only this file sets it.
        patients: the number of training patients, as the hospital declares it in public; it gives delta and how often a
            patient takes part in a step. Round it, and keep it when patients come or go.
        folder: where the ledger lies; ``<folder of the site>/privacy`` by default. A folder that is named here may be
            shared by all nodes of the hospital; then all of them charge one ledger.
        head: the second copy of the ledger's newest hash, on another disk if there is one; by default beside the site's
            folder, or beside ``folder`` where that is named.
        known: where the hospital's nodes keep which patients are in which ledger; by default beside the site's folder.
        shares: which share of the patients trains, and which tests, in every study: ``{train: 0.8, test: 0.2}``. It
            decides on patients who have no role yet; roles are kept for good.
        trained: a text file with the names of patients who trained in studies whose records are gone, one a line.
        questions: most questions about classifiers that are answered on test patients, over all studies.
        scores: ``exact``: figures on test patients as they are; ``noised``: with noise, paid for from the budget.
        without: what happens when a study wants to train without differential privacy: ``refuse`` it, or ``allow`` it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epsilon: float = Field(gt=0, allow_inf_nan=False)
    patients: int = Field(ge=1)
    folder: Annotated[Path | None, Use.WORK] = None
    head: Annotated[Path | None, Use.KEPT] = None
    known: Annotated[Path | None, Use.WORK] = None
    shares: Shares = Shares()
    trained: Annotated[Path | None, Use.FILE] = None
    questions: int = Field(default=QUESTIONS, ge=0)
    scores: Literal["exact", "noised"] = "exact"
    without: Literal["refuse", "allow"] = "refuse"


class SiteSettings(BaseModel):
    """One hospital's settings.

    Attributes:
        name: the site's logical name; lower case, the same in every study.
        reader: format of the data on disk: ``brats``, ``nnunet``, ``lidc``, ``hcc_tace``, ``dicom`` or
            ``image_folder``.
        organ: ``brain``, ``lung`` or ``liver``.
        path: folder of the data; a relative path counts from the folder of ``site.yaml``.
        options: reader options, e.g. ``{tumour_classes: [tumour]}``.
        contrasts: the contrasts that these patients have, e.g. ``[flair, t1]``; without it, those that the study asks
            for.
        patients: a text file with the names of the patients that take part, one a line; without it all do.
        steps: preprocessing that these data need beside the study's, e.g. ``{skull_strip: true}``.
        masks: whether these data have tumour masks (or classes stated by image). Without it a study decides by whether
            some patient has one; with a privacy budget, and in private studies, that counts as true.
        duplicates: what becomes of patients that show the same slices, equal or saved anew: with ``refuse`` the site
            takes no part where equal ones would both train and test; ``join`` takes such patients for one, under the
            first of their names. With a privacy budget, and in private studies, none are joined.
        shared_patients_key: a file with a secret of at least 32 bytes that hospitals share and the coordinator has not.
            With it, studies without privacy find out how many patients two sites have in common, by their IDs, and do
            not begin where there is one.
        identifying_data: what happens where the headers of a study may identify the person: ``refuse`` to take part
            until that is mended, or ``quarantine`` these studies and go on without them.
        roles: ``train`` and ``evaluate``; an external centre only evaluates, and then every patient is a test patient.
        device: ``cpu``, ``cuda`` or ``cuda:<index>``.
        compile: whether networks are compiled for the device before they train (``torch.compile``): minutes at first,
            faster steps afterwards.
        prefetch: batches drawn ahead of the training; without it 2 on a GPU and 0 on a CPU.
        threads: torch threads; 0 leaves torch's choice.
        share_site_model: whether this site's own classifier may be sent to other sites for the cross-site matrix.
        may_release_synthetic: whether synthetic slices that a federated generator makes here may be sent to others.
        declare_counts: whether the numbers of patients, slices and quarantined studies may be told to the coordinator.
        min_cell: fewest patients behind a figure that leaves; a study may ask for more, never for fewer.
        allowed_models: the families of GANs that may be trained or used here, e.g. ``[cgan, wgan_gp]``; without it all.
        allowed_exchanges: how this site may train together with others: ``average`` and ``proxies``; ``gradients`` too
            where nothing is at stake, as gradients of single batches can be inverted into images.
        min_update_patients: fewest training patients behind an update that leaves without noise: whose slices were
            drawn for it.
        min_update_slices: fewest slices of theirs behind it. Both hold for weights of GANs and of classifiers, for the
            site's own model too; what is trained with patients as the unit of privacy is noised in their place.
        allowed_actions: the messages that this site answers, e.g. ``[query.hello, train.gan, evaluate.classifier]``;
            without it all. ``query.hello`` must be among them: without it no study can begin here.
        hours: when this site trains or uses a model for a study, in local time, e.g. ``20:00-06:00``; several with a
            comma, over midnight if need be; without it always. What was begun within them goes on to its end.
        memory_gib: the most memory that the process that works may take, in GiB; without it what the machine has.
        gpu_memory_gib: the most memory that it may take on a ``cuda`` device, in GiB; without it the whole device.
        health_port: the port on this machine (loopback only) at which a running node says whether it is well.
        privacy: the budget of patient-level differential privacy; without it the site takes part in no training that is
            to be private. See :class:`PrivacySettings`.
        demo_cohort: whether the data are the demo cohort's, so that its limits are printed with the results.
        folder: where this site keeps its state, results and reports.
        folder_per_run: whether each run gets a folder of its own below ``folder``.
        cache_dir: where prepared slices are kept; ``folder/cache`` by default.
        weights: pretrained weights that a study may need here, e.g. ``{vgg19: /models/vgg19.pth}``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,49}$")
    reader: str
    organ: str
    path: Annotated[Path, Use.DATA]
    options: dict[str, Any] = {}
    contrasts: list[str] | None = None
    patients: Annotated[Path | None, Use.FILE] = None
    shared_patients_key: Annotated[Path | None, Use.FILE] = None
    steps: dict[str, Any] = {}
    masks: bool | None = None
    duplicates: Literal["refuse", "join"] = "refuse"
    identifying_data: Literal["refuse", "quarantine"] = "refuse"
    roles: list[Literal["train", "evaluate"]] = ["train", "evaluate"]
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    compile: bool = False
    prefetch: int | None = Field(default=None, ge=0)
    threads: int = Field(default=0, ge=0)
    share_site_model: bool = False
    may_release_synthetic: bool = False
    declare_counts: bool = False
    min_cell: int = Field(default=5, ge=1)
    allowed_models: list[str] | None = None
    allowed_exchanges: list[Literal["average", "proxies", "gradients"]] = ["average", "proxies"]
    min_update_patients: int = Field(default=5, ge=1)
    min_update_slices: int = Field(default=20, ge=1)
    allowed_actions: list[str] | None = None
    hours: str | None = None
    memory_gib: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    gpu_memory_gib: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    health_port: int = Field(default=18470, ge=1, le=65535)
    privacy: PrivacySettings | None = None
    demo_cohort: bool = False
    folder: Annotated[Path, Use.WORK]
    folder_per_run: bool = True
    cache_dir: Annotated[Path, Use.WORK]
    weights: Annotated[dict[str, str | None], Use.FILE] = {}

    @property
    def log(self) -> logging.Logger:
        """The site's own log, which stays with it."""
        return logging.getLogger(f"oncofed.client.{self.name}")

    def run_folder(self, run: str) -> Path:
        """Where the state, results and report of ``run`` are kept."""
        return self.folder / "runs" / run if self.folder_per_run else self.folder

    def ledger_files(self) -> LedgerFiles:
        """Where the account of this site's privacy budget lies, or that of all nodes of the hospital."""
        own = self.privacy
        shared = own.folder if own else None
        folder = shared or self.folder / "privacy"
        # One head for all nodes that share a ledger, whatever their names are.
        head = self.folder.parent / f".{self.name}-ledger-head.json"
        if shared is not None:
            head = shared.parent / f".{shared.name}-ledger-head.json"
        return LedgerFiles(folder / "ledger.jsonl", (own.head if own else None) or head, shared=shared is not None)

    def privacy_folder(self) -> Path:
        """Where this site's roster and its record of questions lie, beside the ledger."""
        return self.ledger_files().ledger.parent

    def patient_register(self) -> Path:
        """Where the hospital's nodes keep which patients are in which ledger."""
        return (self.privacy.known if self.privacy else None) or self.folder.parent / ".oncofed-patients"

    def audit_files(self) -> AuditFiles:
        """Where the record of what was asked of this site lies, and the second copy of its newest hash."""
        return AuditFiles(self.folder / "audit.jsonl", self.folder.parent / f".{self.name}-audit-head.json")

    @field_validator("organ")
    @classmethod
    def _known_organ(cls, value: str) -> str:
        if value not in ORGANS:
            raise ValueError(f"known organs are {', '.join(ORGANS)}")
        return value

    @field_validator("allowed_actions")
    @classmethod
    def _known_actions(cls, value: list[str] | None) -> list[str] | None:
        if value is None:
            return None
        known = [action.value for action in Action]
        if unknown := sorted(set(value) - set(known)):
            raise ValueError(f"there is no action {', '.join(unknown)}; known are {', '.join(known)}")
        if Action.HELLO.value not in value:
            raise ValueError(f"add {Action.HELLO.value}: without it this site takes part in no study at all")
        return value

    @field_validator("hours")
    @classmethod
    def _readable_hours(cls, value: str | None) -> str | None:
        if value is not None:
            Hours.parse(value)
        return value

    @field_validator("roles")
    @classmethod
    def _some_role(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("name at least one of train, evaluate")
        return value


def load_site(path: Path) -> SiteSettings:
    """The settings in a ``site.yaml``.

    Raises:
        ConfigError: naming the file, the key and what is wrong with it.
    """
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); a site needs its site.yaml") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML ({yaml_problem(error)})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a list of `key: value` lines")
    here = path.resolve().parent
    try:
        values = with_whole_paths({"folder": str(here), **values}, here, SiteSettings)
        if isinstance(values.get("privacy"), dict):
            values["privacy"] = with_whole_paths(values["privacy"], here, PrivacySettings, "privacy.")
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if isinstance(values["folder"], Path):
        values.setdefault("cache_dir", values["folder"] / "cache")
    try:
        return SiteSettings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{path}: {problems}") from error


def chosen_patients(settings: SiteSettings) -> frozenset[str] | None:
    """The patients that take part; None if all do.

    Raises:
        ConfigError: if the list cannot be read or is empty.
    """
    if settings.patients is None:
        return None
    try:
        names = frozenset(listed_names(settings.patients))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"site.yaml: patients: {settings.patients}: the list of patients cannot be read ({error})"
        ) from error
    if not names:
        raise ConfigError(f"{settings.patients}: names no patient; write one a line, or remove patients from site.yaml")
    return names


def save_site(settings: SiteSettings, path: Path) -> None:
    """Writes a ``site.yaml`` that :func:`load_site` reads back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = settings.model_dump(mode="json")
    path.write_text(
        "# This site's own settings; nothing in this file leaves the site.\n" + yaml.safe_dump(values, sort_keys=False)
    )
