"""What the hospital's operator sees of a bundle, and what may run afterwards."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk

from client.approval.allow_list import allow_list_file, approvals, approve_bundle
from client.approval.comparison import release_files
from client.approval.guard import require_approved
from client.audit.log import read_audit
from client.cli import main
from client.site import SiteSettings, load_site
from common.errors import ConfigError, RefusalError
from common.system.bundle import stage_bundle

Said = tuple[int, str, str]
Approve = Callable[..., Said]


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    file = tmp_path / "home" / "site.yaml"
    file.parent.mkdir()
    file.write_text("name: north\nreader: brats\norgan: brain\npath: data\n")
    return load_site(file)


@pytest.fixture
def approve(site: SiteSettings, capsys: pytest.CaptureFixture[str]) -> Approve:
    def run(*more: object) -> Said:
        with pytest.raises(SystemExit) as exit_:
            main(["approve", str(site.folder / "site.yaml"), *map(str, more)])
        said = capsys.readouterr()
        return int(exit_.value.code or 0), said.out, said.err

    return run


def bundle(folder: Path, change: Callable[[Path], object] = lambda app: None) -> Path:
    app = stage_bundle(folder / "app")
    change(app)
    file = folder / "study.fab"
    file.write_bytes(build_fab_from_disk(app))
    return file


def add(name: str, text: str = "") -> Callable[[Path], object]:
    def change(app: Path) -> None:
        with (app / name).open("a") as file:
            file.write(f"\n# changed {text}\n")

    return change


def sha(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_installed_release_runs_without_being_asked_for(
    site: SiteSettings, approve: Approve, tmp_path: Path
) -> None:
    file = bundle(tmp_path)
    assert require_approved(file, site) == require_approved(file.read_bytes(), site) == release_files()
    code, out, _ = approve(file)
    assert code == 0
    assert "equals the installed release" in out
    assert approvals(site) == []


def test_a_changed_bundle_runs_once_it_is_approved(site: SiteSettings, approve: Approve, tmp_path: Path) -> None:
    def change(app: Path) -> None:
        add("server/gan.py")(app)
        (app / "server" / "extra.py").write_text("x = 1\n")
        (app / "server" / "pretraining.py").unlink()

    file = bundle(tmp_path, change)
    with pytest.raises(RefusalError, match="has not approved this app bundle"):
        require_approved(file, site)
    code, _, err = approve(file)
    assert code == 2
    assert "add --yes" in err
    with pytest.raises(RefusalError, match="has not approved"):
        require_approved(file, site)
    code, out, err = approve(file, "--yes")
    assert (code, err) == (0, "")
    assert "PRIVACY" not in out
    assert [line.split() for line in out.splitlines() if line.startswith("      ")] == [
        ["added", "server/extra.py"],
        ["changed", "server/gan.py"],
        ["missing", "server/pretraining.py"],
    ]
    require_approved(file, site)
    assert "approved already" in approve(file)[1]
    assert [entry["event"] for entry in read_audit(site.audit_files())[0]] == ["bundle approved"]
    assert allow_list_file(site).stat().st_mode & 0o077 == 0


def test_the_next_bundle_is_shown_beside_the_last_one(site: SiteSettings, approve: Approve, tmp_path: Path) -> None:
    approve(bundle(tmp_path / "one", add("server/gan.py")), "--yes")

    def change(app: Path) -> None:
        add("server/gan.py")(app)
        add("server/app.py")(app)

    _, out, _ = approve(bundle(tmp_path / "two", change), "--yes")
    first, second = out.split("Beside the bundle approved last")
    assert "server/gan.py" in first
    assert "server/gan.py" not in second
    assert "changed  server/app.py" in second


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (add("client/privacy/gradients.py"), "changed  client/privacy/gradients.py"),
        (lambda app: (app / "client/privacy/new.py").write_text(""), "added    client/privacy/new.py"),
        (lambda app: (app / "client/privacy/checks.py").unlink(), "missing  client/privacy/checks.py"),
        (add("client/app.py"), "changed  client/app.py"),
        (add("client/site.py"), "changed  client/site.py"),
        (add("common/protocol/records.py"), "changed  common/protocol/records.py"),
        (add("client/audit/log.py"), "changed  client/audit/log.py"),
        (
            lambda app: (app / "pyproject.toml").write_text(
                (app / "pyproject.toml").read_text().replace("client.app:app", "client.hello.introduction:app")
            ),
            "changed  pyproject.toml",
        ),
    ],
)
def test_a_changed_privacy_file_is_named_first_and_needs_its_own_word(
    site: SiteSettings, approve: Approve, tmp_path: Path, change: Callable[[Path], object], named: str
) -> None:
    def both(app: Path) -> None:
        change(app)
        add("server/arms.py")(app)

    file = bundle(tmp_path, both)
    code, out, err = approve(file, "--yes")
    assert code == 1
    assert "--privacy-change-reviewed" in err
    assert out.index("PATIENTS' PRIVACY") < out.index(named) < out.index("server/arms.py")
    with pytest.raises(RefusalError):
        require_approved(file, site)
    code, _, _ = approve(file, "--yes", "--privacy-change-reviewed")
    assert code == 0
    require_approved(file, site)
    assert approvals(site)[0].privacy_change_reviewed


def test_the_changed_lines_are_shown_without_what_a_terminal_obeys(approve: Approve, tmp_path: Path) -> None:
    file = bundle(tmp_path, add("server/gan.py", "\x1b[2J\u202ehidden"))
    _, out, _ = approve(file, "--diff")
    assert "+# changed \\x1b[2J\\u202ehidden" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_a_revoked_bundle_runs_no_more(site: SiteSettings, approve: Approve, tmp_path: Path) -> None:
    file = bundle(tmp_path, add("server/gan.py"))
    approve(file, "--yes")
    assert approve("--revoke", sha(file))[0] == 0
    with pytest.raises(RefusalError):
        require_approved(file, site)
    code, _, err = approve("--revoke", sha(file))
    assert code == 2
    assert "holds no bundle" in err


def test_what_is_no_bundle_is_an_error_that_is_written_down(
    site: SiteSettings, approve: Approve, tmp_path: Path
) -> None:
    (tmp_path / "study.fab").write_bytes(b"nothing")
    code, _, err = approve(tmp_path / "study.fab", "--yes")
    assert code == 1
    assert "study.fab: the app bundle is damaged" in err
    assert read_audit(site.audit_files())[0][0]["event"] == "bundle refused"
    assert approve(tmp_path / "none.fab")[0] == 2
    assert approve()[0] == 2


@pytest.mark.parametrize("text", ["", "{}]", '{"approved": [{"sha256": "*"}]}', '{"approved": [], "all": true}'])
def test_a_list_that_cannot_be_read_approves_nothing(site: SiteSettings, tmp_path: Path, text: str) -> None:
    file = bundle(tmp_path, add("server/gan.py"))
    allow_list_file(site).write_text(text)
    with pytest.raises(RefusalError, match=r"list of approved app bundles cannot be read$"):
        require_approved(file, site)


def test_two_bundles_that_flower_would_take_for_one_are_not_both_approved(site: SiteSettings) -> None:
    approve_bundle(site, "a" * 64, {}, reviewed=False)
    with pytest.raises(ConfigError, match="begins with the same 8 digits"):
        approve_bundle(site, "a" * 8 + "b" * 56, {}, reviewed=False)
    assert len(json.loads(allow_list_file(site).read_text())["approved"]) == 1


def test_nothing_of_a_bundle_is_run(site: SiteSettings, approve: Approve, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = f"\nopen({str(mark)!r}, 'w')\n"

    def change(app: Path) -> None:
        for name in ("client/__init__.py", "client/app.py", "server/app.py", "configs/__init__.py"):
            (app / name).write_text(text)

    approve(bundle(tmp_path, change), "--yes", "--privacy-change-reviewed", "--diff")
    assert not mark.exists()
