"""What stands in the way of talking to Yorc as the settings say."""

from __future__ import annotations

from collections.abc import Iterator

from hpcwaas.common import tls_files
from hpcwaas.engines.yorc.settings import YorcSettings


def problems(settings: YorcSettings, _local: bool) -> Iterator[tuple[str, str]]:
    """Names of settings, each with what is wrong with it; see `EngineEntry.problems`."""
    yield from tls_problems(settings)


def tls_problems(settings: YorcSettings) -> Iterator[tuple[str, str]]:
    """What is wrong with certificates and the key, by the settings' names."""
    files = {name: getattr(settings, name) for name in ("ca_file", "client_certificate", "client_key")}
    named = {name: path for name, path in files.items() if path is not None}
    if not settings.address.lower().startswith("https:"):
        for name in named:
            yield name, "is of no use with an address that begins with http://: use https://, or remove it"
        return
    unread = {name: problem for name, path in named.items() if (problem := tls_files.unreadable(path))}
    yield from unread.items()
    if (
        settings.ca_file is not None
        and "ca_file" not in unread
        and (problem := tls_files.without_certificate(settings.ca_file))
    ):
        yield "ca_file", problem
    if settings.identity is None:
        for name, other in (("client_certificate", "client_key"), ("client_key", "client_certificate")):
            if name in named:
                yield name, f"needs `{other}` as well"
    elif not unread.keys() & {"client_certificate", "client_key"}:
        for which, problem in tls_files.wrong_identity(*settings.identity):
            yield f"client_{which}", problem
