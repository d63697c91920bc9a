"""One patient at two sites: refused by the folder, by the images, and told where only the names are alike."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from opening import open_study
from PIL import Image
from scipy.ndimage import gaussian_filter
from tiny import TinyStudy, write_patient, write_site

from client.site import load_site
from common.errors import ConfigError
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.registry import build_reader
from common.study.config import compose
from common.study.experiment_paths import with_absolute_paths
from server.run_folder import RunFolder
from server.terminal_progress import terminal_progress
from simulation.cli import main
from simulation.same_patients import require_own_folders, require_own_patients
from simulation.sites import prepare_everything

SITES = ("hospital1", "hospital2", "hospital3", "external")


def refused(study: TinyStudy, folder: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    """What a run that is refused says; nothing is left of it."""
    with pytest.raises(SystemExit) as stop:
        main(["run", *study.with_output(folder, *overrides)])
    said = capsys.readouterr().err
    assert stop.value.code == 2, said
    assert "Traceback" not in said
    runs = folder / "runs"
    assert not runs.exists() or list(runs.iterdir()) == []
    return said


def same_folder(data: Path, folder: Path) -> Path:
    return data


def with_a_dot(data: Path, folder: Path) -> Path:
    return data / ".." / data.name


def linked(data: Path, folder: Path) -> Path:
    (folder / "link").symlink_to(data)
    return folder / "link"


def linked_from_above(data: Path, folder: Path) -> Path:
    (folder / "link").symlink_to(data.parent)
    return folder / "link" / data.name


def above(data: Path, folder: Path) -> Path:
    return data.parent


def one_below(data: Path, folder: Path) -> Path:
    return sorted(data.iterdir())[0]


@pytest.mark.parametrize("other", [same_folder, with_a_dot, linked, linked_from_above, above, one_below])
@pytest.mark.parametrize("second", ["hospital2", "external"])
def test_two_sites_with_the_same_folder_are_refused_by_both_keys(
    other: Callable[[Path, Path], Path], second: str, tmp_path: Path
) -> None:
    data = write_site(tmp_path / "all" / "data", 2, seed=1)
    named = other(data, tmp_path)
    study = compose(["site=brain", f"site.hospital1.path={data}", f"site.{second}.path={named}"])
    with pytest.raises(ConfigError) as refusal:
        require_own_folders(with_absolute_paths(study))
    for part in ("site.hospital1.path=", f"site.{second}.path=", "partition"):
        assert part in str(refusal.value)


def test_two_organs_that_name_one_folder_are_refused_too(tmp_path: Path) -> None:
    study = compose(["site=one_each", f"site.hospital1.path={tmp_path}", f"site.hospital2.path={tmp_path}"])
    with pytest.raises(ConfigError, match=r"site\.hospital1\.path=.*site\.hospital2\.path="):
        require_own_folders(with_absolute_paths(study))


def test_neighbouring_folders_and_those_of_a_name_that_begins_alike_are_two(tmp_path: Path) -> None:
    for name in ("data", "data2"):
        (tmp_path / name).mkdir()
    study = compose(["site=brain", f"site.hospital1.path={tmp_path}/data", f"site.hospital2.path={tmp_path}/data2"])
    require_own_folders(with_absolute_paths(study))


PARTITION = "{{reader: brats, organ: brain, path: {path}, sites: 2}}"


def test_a_partition_shares_its_folder_and_nobody_else_may_name_it(tmp_path: Path) -> None:
    shared = f"+partition.shared={PARTITION.format(path=tmp_path)}"
    require_own_folders(with_absolute_paths(compose(["site=none", "organ=[brain]", shared])))
    for more in (f"+site.own={{path: {tmp_path}}}", f"+partition.again={PARTITION.format(path=tmp_path)}"):
        study = with_absolute_paths(compose(["site=none", "organ=[brain]", shared, more]))
        with pytest.raises(ConfigError, match=r"partition\.shared\.path="):
            require_own_folders(study)


def test_the_same_folder_is_refused_before_anything_is_written(
    tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(tiny_study, tmp_path, capsys, f"site.external.path={tiny_study.root / 'hospital1'}")
    assert "site.external.path=" in said
    assert "site.hospital1.path=" in said
    assert not (tmp_path / "cache").exists()


def renamed(root: Path) -> None:
    """Every patient under another name, as a second anonymisation makes them."""
    for case in sorted(root.iterdir()):
        new = case.name.replace("case", "anon")
        for file in case.iterdir():
            file.rename(file.with_name(file.name.replace(case.name, new)))
        case.rename(case.with_name(new))


def saved_again(root: Path) -> None:
    """The same voxels in other files: stored along other axes and without compression."""
    for file in sorted(root.rglob("*.nii.gz")):
        image = nib.load(file)
        turned = nib.as_closest_canonical(image)
        nib.save(nib.Nifti1Image(turned.get_fdata().astype("int16"), turned.affine), file.with_suffix(""))
        file.unlink()


def hard_links(root: Path) -> None:
    """Files that are the other site's own."""
    for file in sorted(root.rglob("*.nii.gz")):
        target = root.parent.parent / "original" / file.relative_to(root)
        file.unlink()
        os.link(target, file)


def one_of_many(root: Path) -> None:
    """One patient of the other site among others."""
    kept = sorted(root.iterdir())[3]
    for case in root.iterdir():
        if case != kept:
            shutil.rmtree(case)
    write_site(root, 9, seed=77)


@pytest.mark.parametrize("how", [renamed, saved_again, hard_links, one_of_many, lambda root: None])
def test_copies_of_a_sites_patients_are_refused_whatever_they_are_called(
    how: Callable[[Path], None], tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original = tmp_path / "original"
    shutil.copytree(tiny_study.root / "hospital1", original)
    copies = tmp_path / "elsewhere" / "copies"
    shutil.copytree(original, copies)
    how(copies)
    said = refused(tiny_study, tmp_path, capsys, f"site.external.path={copies}", f"site.hospital1.path={original}")
    assert "external and hospital1 hold the same images of" in said
    assert "site.external.path and site.hospital1.path" in said
    assert ("1 patient," in said) == (how is one_of_many)


def test_equal_names_with_other_images_are_told_and_no_reason_to_stop(
    tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for site, seed in (("a", 500), ("b", 600)):
        for number in range(6):
            write_patient(tmp_path / site, f"P{number:02d}", tumour=number % 4 != 3, seed=seed + number)
    quick = ("federation.rounds=1", "classifier.federation.rounds=1", "study.arms=[real]")
    data = (f"site.hospital1.path={tmp_path / 'a'}", f"site.hospital2.path={tmp_path / 'b'}")
    with pytest.raises(SystemExit) as stop:
        main(["run", *tiny_study.with_output(tmp_path, *quick, *data, "~site.hospital3", "~site.external")])
    said = capsys.readouterr()
    assert stop.value.code == 0, said.err
    assert "hospital1 and hospital2: 6 patients have names that the other site has too, e.g. P00" in said.out


def test_copies_within_a_folder_that_is_shared_out_go_to_one_site_if_they_are_joined(
    tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_site(tmp_path / "data", 12, seed=5)
    for name in [path.name for path in sorted(data.iterdir())][:5]:
        new = name.replace("case", "anon")
        shutil.copytree(data / name, data / new)
        for file in (data / new).iterdir():
            file.rename(file.with_name(file.name.replace(name, new)))
    shared = f'+partition.shared={{reader: brats, organ: brain, path: "{data}", sites: 2}}'
    sites = [f"~site.{name}" for name in SITES]
    said = refused(tiny_study, tmp_path, capsys, *sites, shared)
    assert "partition.shared.duplicates=join" in said
    joins = "+partition.shared.duplicates=join"
    study = with_absolute_paths(compose(tiny_study.with_output(tmp_path, *sites, shared, joins)))
    folder = RunFolder.new(study)
    _, files = prepare_everything(folder, terminal_progress())
    listed = [set((file.parent / "patients.txt").read_text().split()) for file in files]
    assert sum(map(len, listed)) == 17
    for names in listed:
        assert {f"anon{name[4:]}" for name in names if name.startswith("case")} >= {
            name for name in names if name.startswith("anon")
        }
    cohorts = [open_study(load_site(file), study, "run").data.cohort for file in files]
    assert sum(len(cohort.patients) for cohort in cohorts) == 12


class Terminal:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def test_single_images_that_were_saved_anew_at_another_site_are_told(tmp_path: Path) -> None:
    """Sorted into patients at one site and not at the other, so that no study is equal to another."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    inside = np.hypot(y - 47, (x - 47) * 1.2) < 44
    for number in range(6):
        folds = gaussian_filter(random.normal(size=(96, 96)), 2.5)
        image = np.where(inside, 128 + 40 * folds / folds.std(), 0).clip(0, 255).astype(np.uint8)
        group = "tumour" if number % 2 else "normal"
        for site in ("a", "b"):
            (tmp_path / site / group).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "a" / group / f"{number}.png")
        if number > 2:
            Image.fromarray(image).resize((120, 120)).save(tmp_path / "b" / group / f"scan{number}.jpg", quality=70)
    with (tmp_path / "a" / "patients.csv").open("w") as table:
        table.write("file,patient\n")
        table.writelines(f"{'tumour' if n % 2 else 'normal'}/{n}.png,P{n // 2}\n" for n in range(6))
    study = compose(["site=none", "organ=[brain]", *(f"+site.{s}={{reader: image_folder, path: {s}}}" for s in "ab")])
    cohorts = {
        site: prepare_cohort(
            build_reader("image_folder", organ="brain", contrasts=["flair"], options={"tumour_classes": ["tumour"]}),
            tmp_path / site,
            cache_dir=tmp_path / "cache",
            organ="brain",
            contrasts=["flair"],
            image=study.image,
            preprocessing=study.organs["brain"].steps,
        )
        for site in "ab"
    }
    terminal = Terminal()
    require_own_patients(study, cohorts, terminal)  # type: ignore[arg-type]
    (line,) = terminal.lines
    assert line.startswith("a and b: images of 3 pairs of patients look like copies of each other, e.g. P1 of a and ")
