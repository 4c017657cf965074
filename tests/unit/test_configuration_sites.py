"""The section `sites`: what is read, shown and refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpcwaas.configuration.load import read
from hpcwaas.configuration.text import effective, reference
from hpcwaas.engines.site_settings import SiteSettings
from hpcwaas.errors import ConfigurationError
from tests.loading import load

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
SITE = f"{{host: login.example.org, host_keys: ['{KEY}']}}"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hpcwaas.configuration.load.SYSTEM_FILE", tmp_path / "etc.yml")


def written(directory: Path, text: str) -> Path:
    file = directory / "service.yml"
    file.write_text(text)
    return file


def refused(file: Path | None, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ, {})
    return str(caught.value)


def one(**settings: object) -> str:
    return yaml.safe_dump({"sites": {"mare": {"host": "login.example.org:22", "host_keys": [KEY], **settings}}})


def test_a_site_has_its_settings_and_defaults(tmp_path: Path) -> None:
    (tmp_path / "mare.sh").write_text("module load toil\n")
    text = f"sites:\n  mare:\n    host: login.example.org\n    host_keys: [{KEY} root@login]\n"
    settings = load(written(tmp_path, text + "    prologue: mare.sh\n    slurm:\n      # none\n"), {}, {})
    mare = settings.sites["mare"]
    assert (mare.host, mare.host_keys) == ("login.example.org:22", (KEY,))
    assert mare.prologue == tmp_path / "mare.sh"
    assert (mare.scheduler, mare.leader, mare.runner.command) == ("slurm", "login", ("toil-cwl-runner",))
    assert (mare.users, mare.groups, mare.slurm.time) == (None, None, None)
    assert "cwl" in settings.engines


def test_sites_may_share_settings_by_yaml_and_stay_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "p.sh").touch()
    text = f"sites:\n  z: &z {{host: z, host_keys: ['{KEY}'], prologue: p.sh}}\n  a: {{<<: *z, host: a}}\n  b: *z\n"
    sites = load(written(tmp_path, text), {}, {}).sites
    assert list(sites) == ["z", "a", "b"]
    assert {site.prologue for site in sites.values()} == {tmp_path / "p.sh"}


def test_a_variable_holds_all_sites_as_yaml(tmp_path: Path) -> None:
    file = written(tmp_path, f"sites: {{old: {SITE}}}\n")
    found = read(file, {"HWA_SITES": f"{{new: {SITE}}}"}, {})
    assert list(found.settings.sites) == ["new"]
    assert found.origins["sites.new.host"] == "variable HWA_SITES"
    assert "sites.old.host" not in found.origins


@pytest.mark.parametrize("text", ["sites:\n", "sites: {}\n"])
def test_no_site_is_no_mistake(tmp_path: Path, text: str) -> None:
    assert load(written(tmp_path, text), {}, {}).sites == {}


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"host_keys": []}, "sites.mare.host_keys", "can't be empty"),
        ({"host_keys": ["ssh-ed25519 nonsense"]}, "sites.mare.host_keys[0]", "expected a public host key"),
        ({"host_keys": ["ssh-dss AAAA"]}, "sites.mare.host_keys[0]", "of the types ssh-ed25519"),
        ({"host": "login:port"}, "sites.mare.host", "expected HOST or HOST:PORT"),
        ({"scheduler": "pbs"}, "sites.mare.scheduler", "should be 'slurm' or 'none'"),
        ({"scheduler": "none", "leader": "job"}, "sites.mare", "`leader: job` needs a scheduler"),
        ({"slurm": {"time": 36000}}, "sites.mare.slurm.time", "in quotes"),
        ({"slurm": {"time": "1h"}}, "sites.mare.slurm.time", "as Slurm writes it"),
        ({"slurm": {"partion": "main"}}, "sites.mare.slurm.partion", "did you mean sites.mare.slurm.partition?"),
        ({"hots": "x"}, "sites.mare.hots", "no such setting; did you mean sites.mare.host?"),
        ({"limits": {"executions": 0}}, "sites.mare.limits.executions", "greater than 0"),
        ({"users": None}, "sites.mare.users", "write `[]` (of `logins`: `{}`) for nobody"),
        ({"logins": None}, "sites.mare.logins", "is empty"),
        ({"logins": "subjects"}, "sites.mare.logins", "expected `subject`, or login names by subjects"),
        ({"logins": {"alice": "root"}}, "sites.mare.logins", "and not `root`"),
        ({"logins": {"alice": "-x"}}, "sites.mare.logins", "has no login name for 'alice'"),
        ({"logins": {7: "x"}}, "sites.mare.logins", "has no login name for 7"),
        ({"logins": {"alice": 1234}}, "sites.mare.logins", "has no login name for 'alice'"),
        ({"groups": "climate"}, "sites.mare.groups", "expected a list"),
        ({"prologue": "none.sh"}, "sites.mare.prologue", "none.sh can't be read: No such file or directory"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(
    tmp_path: Path, settings: dict[str, object], key: str, words: str
) -> None:
    problem = refused(written(tmp_path, one(**settings)))
    assert problem.startswith(f"{key}: ")
    assert words in problem
    assert "service.yml:" in problem


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    problem = refused(written(tmp_path, "sites: {mare: {}}\n"))
    assert [line.split(": ")[0] for line in problem.splitlines()] == ["sites.mare.host", "sites.mare.host_keys"]


@pytest.mark.parametrize("name", ["Mare", "a b", "-a", "local", "a" * 33, "''"])
def test_a_name_that_is_no_id_is_refused(tmp_path: Path, name: str) -> None:
    assert refused(written(tmp_path, f"sites: {{{name}: {SITE}}}\n")).startswith("sites.")


@pytest.mark.parametrize("text", ["[a]", "x", "{a"])
def test_sites_that_are_no_sections_are_refused(text: str) -> None:
    problem = refused(None, HWA_SITES=text)
    assert problem.startswith("sites: expected sections")
    assert "variable HWA_SITES" in problem


def test_a_prologue_of_a_variable_is_relative_to_where_the_service_starts(tmp_path: Path) -> None:
    site = SITE[:-1] + ", prologue: p.sh}"
    assert f"{tmp_path}/p.sh can't be read" in refused(None, HWA_SITES=f"{{a: {site}}}")


@pytest.mark.parametrize(("content", "words"), [(b"\xff", "isn't text in UTF-8"), (b"a\0b", "isn't a shell script")])
def test_a_prologue_that_is_no_script_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "p.sh").write_bytes(content)
    assert words in refused(written(tmp_path, one(prologue="p.sh")))


USERS = "auth: {auth_type: basic, basic_auth: {accounts: [{username: alice, password: geheim}]}}\n"


def test_a_prologue_that_others_can_write_is_refused(tmp_path: Path) -> None:
    prologue = tmp_path / "p.sh"
    prologue.touch()
    prologue.chmod(0o664)
    file = written(tmp_path, one(prologue="p.sh"))
    (warning,) = read(file, {}, {}).warnings
    assert warning.startswith(f"{prologue} shouldn't be read: others can write it")
    file.write_text(USERS + one(prologue="p.sh"))
    file.chmod(0o600)
    problem = refused(file)
    assert problem.startswith(f"sites.mare.prologue: {prologue} isn't read: others can write it; `chmod go-w")
    prologue.chmod(0o644)
    assert read(file, {}, {}).warnings == ()


def test_sites_without_the_engine_that_runs_there_are_refused(tmp_path: Path) -> None:
    text = "alien_config: {address: 'http://localhost:8088'}\n" + one()
    problem = refused(written(tmp_path, text))
    assert problem.startswith("sites: aren't used")
    assert "add a section `cwl`" in problem


VAULT = "vault_config:\n  role_id: service\n  secret_id: s\n"


@pytest.mark.parametrize(
    ("vault", "settings", "key", "words"),
    [
        ("", {"logins": "subject"}, "vault_config.ssh_ca", "is required by `sites.mare.logins`"),
        (VAULT, {"logins": "subject"}, "vault_config.ssh_ca", "is required by `sites.mare.logins`"),
        (VAULT, {}, "vault_config.key_reader", "is required by the site `mare`"),
        (f"{VAULT}  ssh_ca: {{role: hpcwaas}}\n", {}, "vault_config.key_reader", "is required by the site `mare`"),
        (
            f"{VAULT}  key_reader: {{}}\n",
            {},
            "vault_config.key_reader.role_id",
            "is required by `auth_method: approle`",
        ),
        (
            f"{VAULT}  key_reader: {{role_id: service, secret_id: other}}\n",
            *({}, "vault_config.key_reader.role_id", "is the service's own identity (`vault_config.role_id`)"),
        ),
        (
            f"{VAULT}  key_reader: {{role_id: reader, secret_id: s, token: t}}\n",
            *({}, "vault_config.key_reader.token", "isn't used by `auth_method: approle`"),
        ),
        (f"{VAULT}  ssh_ca: {{}}\n", {"logins": "subject"}, "vault_config.ssh_ca.role", "required"),
        (f"{VAULT}  ssh_ca: {{role: r, ttl: 5}}\n", {"logins": "subject"}, "vault_config.ssh_ca.ttl", "60"),
    ],
)
def test_sites_that_nothing_opens_are_refused_with_the_setting_that_is_missing(
    tmp_path: Path, vault: str, settings: dict[str, object], key: str, words: str
) -> None:
    problem = refused(written(tmp_path, vault + one(**settings)))
    assert problem.startswith(f"{key}: ")
    assert words in problem


@pytest.mark.parametrize("vault", ["", f"{VAULT}  key_reader: {{role_id: reader, secret_id: s}}\n"])
def test_sites_are_opened_by_the_embedded_vault_or_by_an_identity_that_reads(tmp_path: Path, vault: str) -> None:
    assert "mare" in read(written(tmp_path, vault + one()), {}, {}).settings.sites


def test_what_is_shown_can_be_read_again(tmp_path: Path) -> None:
    logins = {"alice": "u1234"}
    text = one(title="MareNostrum 5", slurm={"time": "01:00:00"}, groups=["climate"], logins=logins)
    file = written(tmp_path, f"{VAULT}  ssh_ca: {{role: hpcwaas}}\n{text}")
    found = read(file, {}, {})
    shown = effective(found)
    assert f"title: MareNostrum 5  # {file}:" in shown
    assert (
        SiteSettings.model_validate(
            {name: value for name, value in yaml.safe_load(shown)["sites"]["mare"].items() if value is not None}
        )
        == (found.settings.sites["mare"])
    )


def test_the_reference_tells_of_sites() -> None:
    page = reference()
    assert "`HWA_SITES` | sections by id |" in page
    assert "## `sites.ID`\n" in page
    assert "## `sites.ID.slurm`\n" in page
    assert "HWA_SITES_ID" not in page
