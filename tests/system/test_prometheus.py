"""A real Prometheus reads the metrics of a real service with several workers, by the files of `deploy/`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import partial, reduce
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import requests
import yaml

from tests.e2e.processes import Service, eventually
from tests.ports import free_port

pytestmark = pytest.mark.system

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "hpcwaas.rules.yml"
TOKEN = "the-token-of-a-prometheus"


class Prometheus:
    """A Prometheus with the configuration that is recommended, which asks every second; runs inside a `with` block."""

    def __init__(self, directory: Path, target: str, token: str) -> None:
        directory.mkdir()
        credentials = directory / "token"
        credentials.write_text(f"{token}\n")
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(RULES)]
        (job,) = config["scrape_configs"]
        job["scheme"] = "http"
        job["authorization"]["credentials_file"] = str(credentials)
        job["static_configs"] = [{"targets": [target]}]
        self.config = directory / "prometheus.yml"
        self.config.write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{free_port()}"
        self._url = f"http://{address}"
        self._log = directory / "log"
        self._command = [
            "prometheus",
            f"--config.file={self.config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={address}",
        ]

    def __enter__(self) -> Prometheus:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            eventually(self._ready)
            eventually(self.target)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)

    def _ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return requests.get(f"{self._url}/-/ready", timeout=60).ok
        except requests.ConnectionError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        answer = requests.get(f"{self._url}/api/v1/{path}", params=parameters, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = self.get("query", query=expression)["result"]
        return found

    def target(self) -> Any:
        """What it knows of the service; None before it has asked."""
        found = self.get("targets")["activeTargets"]
        return found[0] if found and found[0]["health"] != "unknown" else None


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    variables = {"HWA_METRICS_TOKEN": TOKEN, "HWA_SERVER_WORKERS": "2"}
    made = Service(tmp_path_factory.mktemp("measured"), **variables)
    yield made.start()
    made.end()


@pytest.fixture(scope="module")
def prometheus(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("prometheus") / "it", service.address, TOKEN) as made:
        yield made


def promtool(*arguments: str | Path, stdin: str | None = None, directory: Path | None = None) -> str:
    done = subprocess.run(
        ["promtool", *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=120, cwd=directory
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_alerts_are_valid_and_raised_by_what_they_are_for() -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("test", "rules", "hpcwaas.rules.test.yml", directory=RULES.parent)


def test_the_service_is_read_by_the_recommended_configuration(service: Service, prometheus: Prometheus) -> None:
    assert "SUCCESS" in promtool("check", "config", prometheus.config)
    eventually(lambda: prometheus.target()["health"] == "up")  # it gives a busy machine a second to answer

    def listed() -> float:
        found = prometheus.query('hpcwaas_requests_total{operation="listWorkflows",status="200"}')
        return float(found[0]["value"][1]) if found else -1

    for _ in range(20):
        assert service.user("GET", "/workflows").status_code == 200
    eventually(lambda: listed() == 20)
    assert len(prometheus.query("hpcwaas_worker_threads")) == 2
    assert prometheus.query('hpcwaas_dependency_up{dependency="store"}')[0]["value"][1] == "1"


def test_promtool_finds_nothing_to_say_about_the_metrics(service: Service) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.get(f"{service.url}/metrics", headers=headers, timeout=60)
    assert promtool("check", "metrics", stdin=answer.text) == ""


def test_every_panel_of_the_dashboard_has_an_answer(prometheus: Prometheus) -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "hpcwaas.json").read_text(encoding="utf-8"))
    targets = [(panel["title"], target) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(targets) > 30
    variables = {"$job": "hpcwaas", "$instance": ".*", "$__rate_interval": "1m"}
    of_upstreams_and_sites = {"Calls to servers", "Token of the vault", "Sites that answer", "Sign-ins", "Commands"}
    for title, target in targets:
        expression = reduce(lambda text, variable: text.replace(*variable), variables.items(), target["expr"])
        if title in of_upstreams_and_sites:
            prometheus.query(expression)  # there are none here: it's valid
        else:
            eventually(partial(prometheus.query, expression))


def test_every_alert_is_evaluated_and_none_is_raised(prometheus: Prometheus) -> None:
    def rules() -> list[Any]:
        found: list[Any] = prometheus.get("rules")["groups"][0]["rules"]
        return found

    eventually(lambda: all(rule["health"] != "unknown" for rule in rules()))
    assert [(rule["name"], rule["health"]) for rule in rules() if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules() if rule["state"] == "firing"] == []


def test_with_another_token_the_service_counts_as_down(service: Service, tmp_path: Path) -> None:
    with Prometheus(tmp_path / "it", service.address, "another-token-altogether") as stranger:
        assert "401" in stranger.target()["lastError"]
        eventually(lambda: stranger.query('ALERTS{alertname="HpcwaasDown"}'))
