"""Settings from file, environment and flags, and everything that is refused."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from hpcwaas.configuration.checks import preflight
from hpcwaas.configuration.leaves import leaves
from hpcwaas.configuration.load import read
from hpcwaas.configuration.settings import Settings
from hpcwaas.configuration.text import effective, reference
from hpcwaas.errors import ConfigurationError
from hpcwaas.server import listening
from hpcwaas.store.database import Database
from tests.loading import load
from tests.service import cwl_section

ACCOUNT = "auth: {auth_type: basic, basic_auth: {accounts: [{username: alice, password: geheim}]}}\n"

Write: TypeAlias = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("hpcwaas.configuration.load.SYSTEM_FILE", tmp_path / "etc.yml")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        file = tmp_path / "service.yml"
        file.write_text(text)
        return file

    return written


def problems(file: Path | None = None, environ: dict[str, str] | None = None, **flags: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ or {}, {f"--{name}": value for name, value in flags.items()})
    return str(caught.value).splitlines()


def test_nothing_configured_is_the_local_mode(tmp_path: Path) -> None:
    settings = load(None, {"PATH": "/bin"}, {})
    assert settings.local
    assert settings.data_dir == tmp_path / ".local/share/hpcwaas"
    assert settings.addresses[0] == "127.0.0.1:9090"


def test_flag_beats_environment_beats_file_beats_default(write: Write) -> None:
    file = write("listen_address: 127.0.0.1:1111\ncwl: {max_running: 5}\nfiles: {max_size: 1kB}\n")
    environ = {"HWA_LISTEN_ADDRESS": "127.0.0.1:2222", "HWA_CWL_MAX_RUNNING": "6"}
    found = read(file, environ, {"--listen_address": "127.0.0.1:3333"})
    settings = found.settings
    assert (settings.listen_address, cwl_section(settings).max_running) == ("127.0.0.1:3333", 6)
    assert (settings.files.max_size, settings.server.workers) == (1000, 1)
    assert found.origins["listen_address"] == "flag --listen_address"
    assert found.origins["cwl.max_running"] == "variable HWA_CWL_MAX_RUNNING"
    assert found.origins["files.max_size"] == f"{file}:3"
    assert "server.workers" not in found.origins


def test_file_is_looked_for_in_the_usual_places(tmp_path: Path) -> None:
    (tmp_path / "etc.yml").write_text("server: {workers: 7}\n")
    assert load(None, {}, {}).server.workers == 7
    (tmp_path / ".hpcwaas-api.yaml").write_text("server: {workers: 8}\n")
    assert load(None, {"HOME": str(tmp_path)}, {}).server.workers == 8


def test_named_file_must_be_there(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.yml") == [f"--config: can't read {tmp_path}/none.yml: No such file or directory"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "cwl:\n  limits:\n", "vault:\n"])
def test_empty_file_and_empty_sections_are_defaults(write: Write, text: str) -> None:
    assert load(write(text), {}, {}) == load(None, {}, {})


@pytest.mark.parametrize("text", ["a: [", "- a\n", "text", "a: &x {b: *x}\n", "\x00", "password: 'geheim\n"])
def test_file_that_is_no_mapping(write: Write, text: str) -> None:
    (problem,) = problems(write(text))
    assert problem.startswith("--config: ")
    assert "geheim" not in problem


def test_relative_paths_are_relative_to_the_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "runner").touch(mode=0o755)
    settings = load(write("data_dir: d\ncwl: {catalogue: flows, runner: {command: [./runner, -x]}}\n"), {}, {})
    assert settings.data_dir == tmp_path / "d"
    assert cwl_section(settings).catalogue == tmp_path / "flows"
    assert cwl_section(settings).runner.command == (str(tmp_path / "runner"), "-x")


def test_paths_elsewhere_are_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, {"HWA_DATA_DIR": "d"}, {}).data_dir == tmp_path / "d"
    assert load(None, {}, {"--data_dir": "~/e"}).data_dir == tmp_path / "e"


def test_every_setting_has_a_variable_of_its_own() -> None:
    found = [leaf.variable for leaf in leaves()]
    assert len(set(found)) == len(found)
    assert {"HWA_DATA_DIR", "HWA_CWL_LIMITS_MEMORY", "HWA_AUTH_BASIC_AUTH_ACCOUNTS"} <= set(found)


@pytest.mark.parametrize("name", ["HWA_CWL_LIMITS_MEMORY", "HWA_CWL.LIMITS.MEMORY", "HWA_CWL_LIMITS.MEMORY"])
def test_variable_may_keep_its_dots(name: str) -> None:
    assert cwl_section(load(None, {name: "1GiB"}, {})).limits.memory == 2**30


def test_both_spellings_at_once_are_refused() -> None:
    (problem,) = problems(environ={"HWA_SERVER_WORKERS": "1", "HWA_SERVER.WORKERS": "2"})
    assert "HWA_SERVER.WORKERS" in problem
    assert "HWA_SERVER_WORKERS" in problem


@pytest.mark.parametrize("name", ["HWA_METRICS_TOKEN_FILE", "HWA_METRICS.TOKEN_FILE"])
def test_a_variable_may_name_the_file_with_the_value(name: str, write: Write) -> None:
    token = load(None, {name: str(write("0123456789abcdef\n"))}, {}).metrics.token
    assert token is not None
    assert token.get_secret_value() == "0123456789abcdef"


def test_a_file_of_a_variable_that_is_not_there_is_told_without_what_was_given() -> None:
    (problem,) = problems(environ={"HWA_METRICS_TOKEN_FILE": "the-secret-itself"})
    assert problem.startswith("HWA_METRICS_TOKEN_FILE: should name the file with the value")
    assert "the-secret" not in problem
    assert problems(environ={"HWA_NONSENSE_FILE": "x"})[0].startswith("HWA_NONSENSE_FILE: there is no such setting")


def test_a_file_that_is_empty_or_no_text_or_given_twice_is_refused(write: Write, tmp_path: Path) -> None:
    assert "is empty" in problems(environ={"HWA_METRICS_TOKEN_FILE": str(write("\n"))})[0]
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "no text in UTF-8" in problems(environ={"HWA_METRICS_TOKEN_FILE": str(tmp_path / "binary")})[0]
    file = str(write("0123456789abcdef"))
    (problem,) = problems(environ={"HWA_METRICS_TOKEN_FILE": file, "HWA_METRICS_TOKEN": "0123456789abcdef"})
    assert problem.startswith("HWA_METRICS_TOKEN_FILE: is the same setting as HWA_METRICS_TOKEN")


@pytest.mark.parametrize(
    ("text", "expected"), [("", ()), ("A", ("A",)), ("A, B,", ("A", "B")), ("[A, B]", ("A", "B")), ("[]", ())]
)
def test_lists_in_variables(text: str, expected: tuple[str, ...]) -> None:
    assert cwl_section(load(None, {"HWA_CWL_ENVIRONMENT": text}, {})).environment == expected


def test_accounts_in_a_variable() -> None:
    environ = {
        "HWA_AUTH_AUTH_TYPE": "basic",
        "HWA_AUTH_BASIC_AUTH_ACCOUNTS": "[{username: alice, password: '123'}]",
        "HWA_LISTEN_ADDRESS": "0.0.0.0:0",
    }
    settings = load(None, environ, {})
    assert settings.auth is not None
    (account,) = settings.auth.basic_auth.accounts
    assert account.password is not None
    assert account.password.get_secret_value() == "123"


@pytest.mark.parametrize("name", ["HWA_CWL_MAX_RUNING", "HWA_CWL.MAX_RUNING"])
def test_unknown_variable_is_named_with_a_suggestion(name: str) -> None:
    assert problems(environ={name: "3"}) == [f"{name}: there is no such setting; did you mean HWA_CWL_MAX_RUNNING?"]


def test_empty_variable_is_refused() -> None:
    assert problems(environ={"HWA_LISTEN_ADDRESS": ""})[0].startswith("listen_address: is empty")


def test_all_problems_at_once_with_their_places(write: Write) -> None:
    file = write(
        "listen_adress: x\ncwl:\n  max_runing: 3\n  limits: {memory: lots}\ncatalogue: x\nserver: {workers: 0}\n"
    )
    size = "expected a number of bytes, or one with a unit: 500kB, 64MiB, 2GiB"
    found = set(problems(file, {"HWA_FILES_MAX_SIZE": "-1"}))
    assert found == {
        f"listen_adress: no such setting; did you mean listen_address? ({file}:1)",
        f"cwl.max_runing: no such setting; did you mean cwl.max_running? ({file}:3)",
        f"cwl.limits.memory: {size} ({file}:4)",
        f"catalogue: no such setting; did you mean cwl.catalogue? ({file}:5)",
        f"server.workers: should be greater than 0 ({file}:6)",
        f"files.max_size: {size} (variable HWA_FILES_MAX_SIZE)",
    }


def test_key_that_stands_twice_is_refused(write: Write) -> None:
    file = write("cwl:\n  max_running: 1\n  max_running: 2\n")
    assert problems(file) == [f"cwl.max_running: is given twice ({file}:3)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auth:\n", "auth: is empty"),
        ("auth: {}\n", "auth.auth_type: is required"),
        ("auth: false\n", "auth: expected a section"),
        ("auth: {auth_type: ldap}\n", "auth.auth_type[0]: should be 'basic' or 'sso'"),
        ("auth: {auth_type: []}\n", "auth.auth_type: can't be empty"),
        ("auth: {auth_type: basic, basic_auth: {accounts: [{usrname: a}]}}\n", "accounts[0].usrname: no such setting"),
        ("aut: {auth_type: basic}\n", "aut: no such setting; did you mean auth?"),
    ],
)
def test_broken_auth_section_never_opens_the_service(write: Write, text: str, expected: str) -> None:
    assert any(expected in problem for problem in problems(write(text)))


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:80"])
def test_others_may_not_reach_a_service_without_authentication(write: Write, address: str) -> None:
    (problem,) = problems(listen_address=address)
    assert problem.startswith(f"listen_address: {address} can be reached from other machines")


def test_any_address_with_authentication(write: Write) -> None:
    assert load(write(ACCOUNT), {}, {"--listen_address": "0.0.0.0:0"}).listen_address == "0.0.0.0:0"
    assert load(write(ACCOUNT), {}, {}).addresses == ("0.0.0.0:9090",)


def test_address_of_another_machine(write: Write) -> None:
    (problem,) = problems(write(ACCOUNT), listen_address="192.0.2.1:80")
    assert "can't listen on 192.0.2.1:80" in problem


def test_host_that_nobody_knows() -> None:
    (problem,) = problems(listen_address="nowhere.invalid:80")
    assert "can't find the host" in problem


@pytest.mark.parametrize("address", ["9090", "localhost", "localhost:http", "::1:80", "127.0.0.1:99999"])
def test_malformed_address(address: str) -> None:
    (problem,) = problems(listen_address=address)
    assert "expected HOST:PORT" in problem
    assert "(flag --listen_address)" in problem


def test_port_in_use_does_not_make_the_configuration_wrong() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = load(None, {}, {"--listen_address": address})
        with pytest.raises(ConfigurationError, match="is in use"):
            listening.listen(settings)


def test_local_mode_takes_the_next_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr("hpcwaas.configuration.settings._LOCAL_ADDRESSES", (used, "127.0.0.1:0"))
        settings = load(None, {}, {})
        with listening.listen(settings) as listener:
            assert listening.url(listener) != f"http://{used}"
        monkeypatch.setattr("hpcwaas.configuration.settings._LOCAL_ADDRESSES", (used, used))
        with pytest.raises(ConfigurationError, match="every port"):
            listening.listen(settings)


def test_url_of_every_address_and_of_ipv6(write: Write) -> None:
    for address, expected in (("0.0.0.0:0", "http://127.0.0.1:"), ("[::1]:0", "http://[::1]:")):
        with listening.listen(load(write(ACCOUNT), {}, {"--listen_address": address})) as listener:
            assert listening.url(listener).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data_dir: service.yml", "data_dir: {here}/service.yml is no directory"),
        ("data_dir: service.yml/x", "data_dir: {here}/service.yml/x doesn't exist and can't be made"),
        ("audit: {file: .}", "audit.file: {here} can't be written"),
        ("audit: {file: nowhere/audit.jsonl}", "audit.file: {here}/nowhere/audit.jsonl doesn't exist"),
        ("cwl: {catalogue: nowhere}", "cwl.catalogue: {here}/nowhere is no directory"),
        ("cwl: {runner: {command: [no-such-runner]}}", "cwl.runner.command: there is no program no-such-runner"),
        ("cwl: {runner: {command: cwltool}}", "cwl.runner.command: expected a list"),
        ("cwl: {runner: {command: []}}", "cwl.runner.command: can't be empty"),
        ("cwl: {limits: {memory: 4}}", "cwl.limits.memory: nothing runs within 4 bytes; expected 16MiB or more"),
        ("cwl: {limits: {cores: 0}}", "cwl.limits.cores: should be greater than 0"),
        ("store: {url: 'sqlite:///x.db'}", "store.url: SQLite needs an absolute path"),
        ("alien_config: {address: 'a4c:8088'}", "alien_config.address: expected a URL such as"),
        ("alien_config: {adress: 'http://a4c:8088'}", "alien_config.adress: no such setting"),
        ("vault_config: {adress: 'http://v'}", "vault_config.adress: no such setting; did you mean"),
        ("vault_config: {role_id: r}", "vault_config.secret_id: is required by `auth_method: approle`"),
        ("vault_config: {role_id: r, secret_id: s, role: x}", "vault_config.role: isn't used by"),
        ("vault_config: {role_id: r, secret_id: s, mount: /secret/}", "vault_config.mount: expected a path such as"),
        ("vault_config: {role_id: r, secret_id: s, ca_file: no.pem}", "vault_config.ca_file: {here}/no.pem can't be"),
        ("vault_config: {auth_method: token}", "vault_config.token: give either this or"),
        ("vault_config: {auth_method: jwt, token_file: /dev/null}", "vault_config.role: is required by"),
        ("vault_config: {auth_method: token, token: t, is_secret_wrapped: true}", "vault_config.is_secret_wrapped"),
        ("{vault: {key: k}, vault_config: {role_id: r, secret_id: s}}", "vault.key: belongs to the embedded vault"),
        ("listen_address: 'unix:relative.sock'", "listen_address: expected unix:/PATH"),
        ("server: {socket_mode: '0666'}", "server.socket_mode: expected '0660' or '0600'"),
        ("server: {trusted_proxies: [nginx]}", "server.trusted_proxies[0]: expected an IP address or network"),
    ],
)
def test_what_cannot_be_honoured(write: Write, tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems(write(text))
    assert problem.startswith(expected.format(here=tmp_path))


@pytest.mark.parametrize("name", ["HWA_VAULT_CONFIG_ROLE_ID", "HWA_VAULT_CONFIG.ROLE_ID"])
def test_variables_of_the_earlier_service(name: str) -> None:
    variables = {name: "x", "HWA_VAULT_CONFIG_SECRET_ID": "y"}
    settings = load(None, variables, {"--vault_is_secret_wrapped": True}).vault_config
    assert settings is not None
    assert (settings.role_id, settings.is_secret_wrapped) == ("x", True)


@given(password=st.text(min_size=6).filter(lambda text: text.strip()))
def test_messages_hold_no_values(password: str) -> None:
    secret = f"secret-{password}-secret"
    with pytest.raises(ConfigurationError) as caught:
        load(None, dict.fromkeys(("HWA_AUTH_BASIC_AUTH_ACCOUNTS", "HWA_AUTH_AUTH_TYPE", "HWA_VAULT_KEY"), secret), {})
    assert secret not in str(caught.value)


def test_effective_settings_are_yaml_that_gives_the_same_settings(write: Write, tmp_path: Path) -> None:
    text = "data_dir: d\ncwl: {environment: [A, 'B: #c'], limits: {memory: 3000000000}}\nfiles: {max_size: 1MiB}\n"
    found = read(write(text), {}, {})
    shown = effective(found)
    assert f"data_dir: {tmp_path}/d  # {tmp_path}/service.yml:1\n" in shown
    again = load(write(shown), {}, {})
    assert again.model_dump(exclude={"listen_address", "store", "cwl"}) == found.settings.model_dump(
        exclude={"listen_address", "store", "cwl"}
    )
    assert cwl_section(again).limits == cwl_section(found.settings).limits
    assert cwl_section(again).environment == ("A", "B: #c")


def test_effective_settings_mask_secrets(write: Write) -> None:
    text = f"{ACCOUNT}vault: {{key: c2VjcmV0}}\nstore: {{url: 'postgresql+psycopg://u:hidden@h/x'}}\n"
    shown = effective(read(write(text), {}, {}))
    assert "alice" in shown
    assert shown.count("********") == 2
    assert "u:***@" in shown
    assert not any(secret in shown for secret in ("geheim", "c2VjcmV0", "hidden"))


def test_effective_settings_mask_secrets_in_the_query_of_a_url(write: Write) -> None:
    url = "postgresql+psycopg://h/x?user=u&password=hidden&sslmode=require"
    shown = effective(read(write(f"store: {{url: '{url}'}}\n"), {}, {}))
    assert "hidden" not in shown
    assert "user=u" in shown
    assert "sslmode=require" in shown


def test_reference_page_is_in_step() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"
    assert page.read_text() == reference(), "run: make references"


def test_every_setting_is_described_and_refuses_unknown_keys() -> None:
    assert all(leaf.field.description for leaf in leaves())

    def models(model: type[BaseModel]) -> list[type[BaseModel]]:
        return [model, *(found for sub in model.__subclasses__() for found in models(sub))]

    (section,) = (base for base in Settings.__bases__)
    strict = ConfigDict(extra="forbid", frozen=True)
    assert all(strict.items() <= model.model_config.items() for model in models(section))


def test_preflight_wants_the_schema_only_when_users_share_the_service(write: Write, tmp_path: Path) -> None:
    local = load(None, {"HWA_DATA_DIR": str(tmp_path / "d")}, {})
    preflight(local)
    assert not local.data_dir.exists()
    shared = load(write(ACCOUNT), {"HWA_DATA_DIR": str(tmp_path / "d")}, {})
    preflight(shared)  # none yet: the start makes it
    shared.data_dir.mkdir()
    with contextlib.closing(Database(shared.database_url)) as made:
        made.upgrade()
    preflight(shared)
    with contextlib.closing(sqlite3.connect(shared.data_dir / "hpcwaas.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(ConfigurationError, match="hpcwaas-api db upgrade"):
        preflight(shared)
    preflight(local)


def test_preflight_finds_a_useless_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"vault\.key"):
        preflight(load(None, {"HWA_DATA_DIR": str(tmp_path / "d"), "HWA_VAULT_KEY": "short"}, {}))
