"""The ``site.yaml`` of a simulated site."""

from dataclasses import asdict
from pathlib import Path

from client.site import SiteSettings
from common.study.experiment import Experiment
from common.study.simulated import SiteConfig
from common.training.trainer import Exchange

PATIENTS = "patients.txt"
"""Beside a ``site.yaml``: the patients that are this site's share of a data set."""


def site_settings(experiment: Experiment, name: str, site: SiteConfig, path: Path, folder: Path) -> SiteSettings:
    """The settings of a site whose patients lie in ``path`` and whose own folder is ``folder``."""
    return SiteSettings.model_validate(
        {
            "name": name,
            "min_cell": experiment.study.min_cell,
            "reader": site.reader,
            "organ": site.organ,
            "path": path,
            "options": dict(site.options),
            "contrasts": site.contrasts,
            "patients": folder / PATIENTS if site.partition else None,
            "steps": dict(site.steps),
            "identifying_data": site.identifying_data,
            "duplicates": site.duplicates,
            "roles": list(site.roles),
            "device": site.device,
            "compile": site.compile,
            "prefetch": site.prefetch,
            "threads": experiment.simulation.threads,
            "share_site_model": site.share_site_model,
            # Nothing leaves this machine: no exchange and no size of an update gives anything away, and a study by
            # proxies cannot be simulated without a release.
            "may_release_synthetic": True,
            "allowed_exchanges": list(Exchange),
            "min_update_patients": 1,
            "min_update_slices": 1,
            "declare_counts": site.declare_counts,
            "demo_cohort": site.path is None,
            "folder": folder,
            "folder_per_run": False,
            "cache_dir": Path(experiment.simulation.cache_dir) / "prepared",
            "weights": asdict(experiment.weights),
        }
    )
