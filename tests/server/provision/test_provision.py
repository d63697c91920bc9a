"""``oncofed-server provision``: what is made, what is left alone, what is shut out."""

import json
import stat
import subprocess
import zipfile
from datetime import timedelta

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from enrolment_service import SITES, federation

from common.errors import ConfigError
from common.protocol.enrolment import KitFile
from common.protocol.question_keys import public_text
from server.cli import main
from server.provision.authority import make_server_certificate, open_authority
from server.provision.provision import Changes, Places, provision
from server.provision.question_key import make_question_key, read_question_key
from server.provision.registry import token_hash, utc_now

SETTINGS = federation(8443, host="fed.example.org")


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path / "provision")


def everything(folder):
    """Every file below ``folder`` and what it holds; locks aside."""
    return {f.relative_to(folder): f.read_bytes() for f in folder.rglob("*") if f.is_file() and f.suffix != ".lock"}


def kit_files(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_openssl_accepts_the_server_certificate_for_its_addresses_and_no_other(places):
    provision(SETTINGS, places)

    def verified(*options):
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"]
        files = [str(places.authority / "ca.crt"), *options, str(places.server / "server.crt")]
        return subprocess.run([*command, *files], capture_output=True, check=False).returncode == 0

    assert verified("-verify_hostname", "fed.example.org")
    assert verified("-verify_hostname", "localhost")
    assert verified("-verify_ip", "127.0.0.1")
    assert not verified("-verify_hostname", "other.example.org")


def test_an_ip_address_is_one_in_the_certificate_too(places):
    done = provision(federation(8443, host="192.0.2.7"), places)
    names = done.server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "192.0.2.7" in map(str, names.get_values_for_type(x509.IPAddress))


def test_the_authority_is_on_p384_and_can_sign_no_other_authority(places):
    authority = provision(SETTINGS, places).authority
    assert authority.key.curve.name == "secp384r1"
    limits = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert limits.critical
    assert limits.value.path_length == 0


def test_keys_and_kits_are_their_owners_alone(places):
    provision(SETTINGS, places)
    secret = [places.authority / "ca.key", places.server / "server.key", *map(places.kit, ("hospital1", "hospital2"))]
    assert {stat.S_IMODE(file.stat().st_mode) for file in secret} == {0o600}
    assert stat.S_IMODE(places.folder.stat().st_mode) == 0o700


def test_no_kit_holds_a_private_key(places):
    provision(SETTINGS, places)
    keys = []
    for file in (places.authority / "ca.key", places.server / "server.key"):
        key = serialization.load_pem_private_key(file.read_bytes(), None)
        scalar = key.private_numbers().private_value.to_bytes(48, "big")
        keys += [scalar, scalar.hex().encode(), *file.read_bytes().splitlines()[1:-1]]
    for site in ("hospital1", "hospital2"):
        files = kit_files(places.kit(site))
        assert set(files) == set(KitFile)
        for content in (*files.values(), places.kit(site).read_bytes()):
            assert b"PRIVATE" not in content
            assert not [key for key in keys if key in content]


def test_the_token_is_kept_as_a_hash_only(places):
    provision(SETTINGS, places)
    token = kit_files(places.kit("hospital1"))["token"].decode().strip()
    assert places.registry.read().sites["hospital1"].token.hash == token_hash(token)
    elsewhere = {f: content for f, content in everything(places.folder).items() if f.suffix != ".zip"}
    assert not [file for file, content in elsewhere.items() if token.encode() in content]


def test_sha256sum_finds_the_kit_whole(places, tmp_path):
    provision(SETTINGS, places)
    with zipfile.ZipFile(places.kit("hospital1")) as archive:
        archive.extractall(tmp_path / "kit")
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "kit", check=True)


def test_a_kit_proposes_organ_and_reader_and_says_nothing_of_what_the_hospital_allows(places):
    provision(SETTINGS, places)
    told = {site: json.loads(kit_files(places.kit(site))["kit.json"]) for site in ("hospital1", "hospital2")}
    assert [(one["organ"], one["reader"]) for one in told.values()] == [("brain", None), ("liver", "dicom")]
    allowed = {"version", "federation", "site", "address", "made", "token_expires", "questions", "organ", "reader"}
    assert all(set(one) == allowed for one in told.values())


def test_the_key_that_signs_questions_is_made_once_and_its_public_half_is_in_every_kit(places):
    provision(SETTINGS, places)
    key = places.questions.read_bytes()
    assert stat.S_IMODE(places.questions.stat().st_mode) == 0o600
    public = public_text(read_question_key(places.questions))
    provision(SETTINGS, places, Changes(renew=["hospital1"]))
    assert places.questions.read_bytes() == key
    for site in ("hospital1", "hospital2"):
        assert json.loads(kit_files(places.kit(site))["kit.json"])["questions"] == public


def test_a_key_that_signs_questions_is_not_made_anew_behind_the_kits_back(places):
    provision(SETTINGS, places)
    before = places.registry.path.read_bytes()
    places.questions.unlink()
    with pytest.raises(ConfigError, match=r"questions\.key: .*put it back from your backup"):
        provision(SETTINGS, places)
    make_question_key(places.questions)
    with pytest.raises(ConfigError, match=r"questions\.key: is not the key of"):
        provision(SETTINGS, places)
    places.questions.chmod(0o640)
    with pytest.raises(ConfigError, match=r"questions\.key: others can read the key"):
        provision(SETTINGS, places)
    assert places.registry.path.read_bytes() == before


def test_sites_that_were_invited_before_questions_were_signed_are_named(places, tmp_path, capsys):
    provision(SETTINGS, places, now=utc_now() - timedelta(days=2))
    # As an earlier release left it.
    with places.registry.edit() as registry:
        registry.questions = None
    places.questions.unlink()
    file = tmp_path / "federation.yaml"
    file.write_text(yaml.safe_dump(SETTINGS.model_dump(mode="json")))
    for arguments, named in (([], ["hospital1", "hospital2"]), (["--renew", "hospital1"], ["hospital2"])):
        with pytest.raises(SystemExit):
            main(["provision", str(file), *arguments])
        told = capsys.readouterr().out
        assert [site for site in ("hospital1", "hospital2") if f"{site}: its kit is from before" in told] == named


def test_running_it_again_changes_nothing(places):
    provision(SETTINGS, places)
    before = everything(places.folder)
    done = provision(SETTINGS, places)
    assert everything(places.folder) == before
    assert not done.kits


def test_a_new_site_leaves_the_others_alone(places):
    provision(SETTINGS, places)
    before = everything(places.folder)
    more = federation(8443, host="fed.example.org", sites=(*SITES, {"name": "hospital3", "organ": "lung"}))
    assert set(provision(more, places).kits) == {"hospital3"}
    after = everything(places.folder)
    changed = {str(file) for file in after if after[file] != before.get(file)}
    assert changed == {"registry.json", "kits/hospital3.zip"}


def test_a_renewed_site_has_a_new_token_and_the_old_one_is_void(places):
    provision(SETTINGS, places)
    before, other = kit_files(places.kit("hospital1")), places.kit("hospital2").read_bytes()
    provision(SETTINGS, places, Changes(renew=["hospital1"]))
    after = kit_files(places.kit("hospital1"))
    assert after["token"] != before["token"]
    assert after["ca.crt"] == before["ca.crt"]
    assert places.registry.read().sites["hospital1"].token.hash == token_hash(after["token"].decode().strip())
    assert places.kit("hospital2").read_bytes() == other


def test_a_revoked_site_has_no_key_and_no_kit_and_the_others_are_untouched(places):
    provision(SETTINGS, places)
    other = places.registry.read().sites["hospital2"]
    provision(SETTINGS, places, Changes(revoke=["hospital1"]))
    registry = places.registry.read()
    assert registry.sites["hospital1"].state == "revoked"
    assert not places.kit("hospital1").exists()
    assert registry.sites["hospital2"] == other
    assert not provision(SETTINGS, places).kits
    assert places.registry.read() == registry


def test_a_new_server_certificate_comes_from_the_same_authority(places):
    first = provision(SETTINGS, places)
    second = provision(SETTINGS, places, Changes(renew_server=True))
    assert second.server.serial_number != first.server.serial_number
    assert second.server.public_key() != first.server.public_key()
    assert second.authority.certificate == first.authority.certificate
    second.server.verify_directly_issued_by(first.authority.certificate)
    assert sorted(file.name for file in places.server.iterdir()) == ["server.crt", "server.key"]
    assert not list(places.folder.glob("server.*"))


def test_a_lost_server_folder_is_made_again(places):
    first = provision(SETTINGS, places)
    for file in places.server.iterdir():
        file.unlink()
    places.server.rmdir()
    done = provision(SETTINGS, places)
    assert done.new_server
    assert not done.kits
    done.server.verify_directly_issued_by(first.authority.certificate)


def test_a_server_certificate_does_not_outlive_the_authority(tmp_path):
    authority = open_authority(tmp_path / "authority", "tumours", 10, utc_now())
    made = make_server_certificate(tmp_path / "server", authority, "localhost", 100, utc_now())
    assert made.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_a_lost_list_of_sites_is_not_made_up_anew(places):
    provision(SETTINGS, places)
    places.registry.path.unlink()
    before = everything(places.folder)
    with pytest.raises(ConfigError, match=r"registry\.json: is missing.*backup"):
        provision(SETTINGS, places)
    assert everything(places.folder) == before


def test_an_authority_that_others_can_read_is_not_used(places):
    provision(SETTINGS, places)
    (places.authority / "ca.key").chmod(0o640)
    with pytest.raises(ConfigError, match=r"ca\.key: others can read"):
        provision(SETTINGS, places)


def test_a_key_of_another_authority_is_noticed(places, tmp_path):
    provision(SETTINGS, places)
    other = Places(tmp_path / "other")
    provision(SETTINGS, other)
    (places.authority / "ca.key").write_bytes((other.authority / "ca.key").read_bytes())
    with pytest.raises(ConfigError, match=r"is not the key of .*ca\.crt"):
        provision(SETTINGS, places)


def test_an_expired_authority_says_so(places):
    provision(federation(1, validity={"authority": 5}), places, now=utc_now() - timedelta(days=6))
    with pytest.raises(ConfigError, match=r"the authority expired"):
        provision(federation(1), places)


def test_a_new_address_needs_a_new_server_certificate(places):
    provision(SETTINGS, places)
    moved = federation(8443, host="new.example.org")
    with pytest.raises(ConfigError, match=r"is not for new\.example\.org.*--renew-server"):
        provision(moved, places)
    provision(moved, places, Changes(renew_server=True))
    provision(moved, places)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (Changes(renew=["hospital9"]), "--renew hospital9: federation.yaml names no such site"),
        (Changes(revoke=["hospital9"]), "--revoke hospital9: no such site was ever provisioned"),
        (Changes(renew=["hospital1"], revoke=["hospital1"]), "hospital1: cannot be renewed and revoked at once"),
    ],
)
def test_a_mistaken_change_changes_nothing(places, changes, message):
    provision(SETTINGS, places)
    before = everything(places.folder)
    with pytest.raises(ConfigError) as error:
        provision(SETTINGS, places, changes)
    assert message in str(error.value)
    assert everything(places.folder) == before


def test_another_federations_folder_is_not_used(places):
    provision(SETTINGS, places)
    other = SETTINGS.model_copy(update={"name": "others"})
    with pytest.raises(ConfigError, match="belongs to the federation tumours, not to others"):
        provision(other, places)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adress": "x:1"}, "adress: Extra inputs are not permitted"),
        ({"address": "https://fed.example.org"}, "address: Value error, must be host:port"),
        ({"address": "300.1.2.3:443"}, "address"),
        ({"sites": []}, "sites"),
        ({"sites": [{"name": "Hospital 1", "organ": "brain"}]}, "sites.0.name"),
        ({"sites": [{"name": "h", "organ": "kidney"}]}, "known organs are brain, lung, liver"),
        ({"sites": [{"name": "h", "organ": "lung", "reader": "nifti"}]}, "known readers are"),
        ({"sites": [{"name": "h", "organ": "lung"}] * 2}, "named twice: h"),
        ({"validity": {"token": 0}}, "validity.token"),
    ],
)
def test_a_wrong_federation_file_names_the_key(tmp_path, capsys, change, message):
    file = tmp_path / "federation.yaml"
    values = {"name": "tumours", "address": "fed.example.org:443", "sites": list(SITES)}
    file.write_text(yaml.safe_dump(values | change))
    with pytest.raises(SystemExit) as exit_:
        main(["provision", str(file)])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert str(file) in error
    assert message in error
    assert not (tmp_path / "provision").exists()


def test_the_commands_say_what_was_made_and_who_takes_part(tmp_path, capsys):
    file = tmp_path / "federation.yaml"
    file.write_text(yaml.safe_dump({"name": "tumours", "address": "fed.example.org:443", "sites": list(SITES)}))

    def said(*words):
        with pytest.raises(SystemExit) as exit_:
            main([*words])
        assert exit_.value.code == 0
        return capsys.readouterr().out

    first = said("provision", str(file))
    for site in ("hospital1", "hospital2"):
        kit = tmp_path / "provision" / "kits" / f"{site}.zip"
        digest = subprocess.run(["sha256sum", str(kit)], capture_output=True, text=True, check=True).stdout.split()[0]
        assert digest in first
    assert "Back up" in first
    assert "nothing new" in said("provision", str(file))
    assert "revoked     hospital2" in said("provision", str(file), "--revoke", "hospital2")
    rows = said("enrolments", str(file)).splitlines()
    assert [row.split()[:2] for row in rows] == [["hospital1", "invited"], ["hospital2", "revoked"]]
