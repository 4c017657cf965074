"""The service below a path of nginx, which shows other pages, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.processes import SCRIPT, Service
from tests.event_streams import Stream
from tests.service import Client
from tests.system.replicas import Nginx
from tests.waiting import until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("below"), HWA_SERVER_ROOT_PATH="/workflows-api")
    service.publish("script", SCRIPT)
    service.start()
    yield service
    service.end()


@pytest.mark.system
@pytest.mark.parametrize("taken_off", [False, True])
def test_below_a_path_as_the_guide_says(service: Service, tmp_path: Path, taken_off: bool) -> None:
    with Nginx() as nginx:
        nginx.start_below_a_path(service.address, taken_off=taken_off)
        page = requests.get(f"{nginx.url}/workflows-api/", timeout=60)
        assert (page.status_code, page.url) == (200, f"{nginx.url}/workflows-api/ui/")
        assert requests.get(f"{nginx.url}/workflows-api/ui/page.js", timeout=60).status_code == 200
        assert requests.get(f"{nginx.url}/workflows", timeout=60).status_code == 404  # another page's
        api = {"HW_API_URL": f"{nginx.url}/workflows-api", "HW_ACCESS_TOKEN": service.token}
        started = service.waas(
            *("workflows", "trigger", "script", "-i", "script=echo below > a.txt", "--follow", "-o", "json"), **api
        )
        assert started.returncode == 0, started.stderr
        execution = json.loads(started.stdout)["id"]
        done = service.waas("executions", "outputs", execution, "--download", tmp_path / "out", **api)
        assert done.returncode == 0, done.stderr
        assert next((tmp_path / "out").rglob("a.txt")).read_text() == "below\n"
        taken = service.waas(
            *("workflows", "trigger", "script", "-i", 'script=cat "$0" > b.txt', "-i", f"given={execution}:files"),
            *("--follow", "-o", "json"),
            **api,
        )
        assert taken.returncode == 0, taken.stderr
        assert json.loads(taken.stdout)["status"] == "SUCCEEDED"
        user = Client(f"{nginx.url}/workflows-api", service.user.headers)
        path = user.trigger("script", script="echo it comes at once >&2; sleep 300").removeprefix("/workflows-api")
        with Stream(user, f"{path}/logs") as stream:  # nginx holds nothing back
            until(lambda: "it comes at once" in [each["content"] for each in stream.of("log")])
            assert not stream.of("end")
            assert user("DELETE", path).status_code == 202
            assert stream.end()["status"] == "CANCELLED"
