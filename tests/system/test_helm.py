"""The Helm chart: Helm renders it, Kubernetes' schemas know what it renders, and the service accepts its settings."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.processes import BIN
from tests.system.deploying import DEPLOY, said_by

pytestmark = pytest.mark.system

CHART = DEPLOY / "helm" / "hpcwaas"
SMALL = {"settings": {"auth": {"auth_type": "basic"}}}
WITH_WORKFLOWS = {
    "settings": {"auth": {"auth_type": "basic"}, "cwl": {"catalogue": "/srv/workflows"}},
    "workflows": {"configMap": {"name": "workflows"}},
    "persistence": {"storageClass": "fast", "size": "1Ti"},
}
LARGE = {
    "replicas": 3,
    "settings": {
        "auth": {"auth_type": "basic", "operators": ["alice"]},
        "server": {"root_path": "/waas", "workers": 2},
        "alien_config": {"address": "https://a4c.example.org"},
    },
    "existingSecrets": ["hpcwaas"],
    "persistence": {"enabled": False},
    "ingress": {"enabled": True, "host": "waas.example.org", "className": "nginx", "tlsSecret": "waas-tls"},
    "trustedProxies": ["10.0.0.0/8"],
    "serviceMonitor": {"enabled": True, "tokenSecret": {"name": "hpcwaas"}},
    "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {}}]},
    "podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
}
BARE = {
    **SMALL,
    "existingSecrets": ["hpcwaas"],
    "persistence": {"enabled": False},
    "upgrade": {"enabled": False},
    "serviceAccount": {"create": False},
}


def helm(values: dict[str, Any]) -> Any:
    return _helm(json.dumps(values))


@functools.cache
def _helm(values: str) -> Any:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(values)
        file.flush()
        return said_by("helm", CHART, file.name)


def rendered(values: dict[str, Any]) -> dict[str, Any]:
    """The manifests by their kinds."""
    said = helm(values)
    assert said["messages"] == []
    texts = [text for name, text in said["rendered"].items() if not name.endswith("NOTES.txt")]
    found = [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]
    assert len({manifest["kind"] for manifest in found}) == len(found)
    return {manifest["kind"]: manifest for manifest in found}


def pod(manifests: dict[str, Any]) -> Any:
    return manifests["Deployment"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        (SMALL, {"ConfigMap", "Deployment", "PersistentVolumeClaim", "Service", "ServiceAccount"}),
        (
            LARGE,
            {"ConfigMap", "Deployment", "Ingress", "NetworkPolicy", "PodDisruptionBudget"}
            | {"Service", "ServiceAccount", "ServiceMonitor"},
        ),
        (WITH_WORKFLOWS, {"ConfigMap", "Deployment", "PersistentVolumeClaim", "Service", "ServiceAccount"}),
        (BARE, {"ConfigMap", "Deployment", "Service"}),
    ],
)
def test_what_is_rendered_is_valid_and_runs_with_no_more_rights_than_it_needs(
    values: dict[str, Any], kinds: set[str], tmp_path: Path
) -> None:
    manifests = rendered(values)
    assert manifests.keys() == kinds
    file = tmp_path / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(manifests.values()))
    checked = said_by("kubernetes", "1.31", file)
    assert checked["problems"] == []
    assert set(checked["unknown"]) <= {"ServiceMonitor"}
    spec = pod(manifests)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    mounted = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    selector = manifests["Deployment"]["spec"]["selector"]["matchLabels"].items()
    assert selector <= manifests["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert selector == manifests["Service"]["spec"]["selector"].items()


def test_several_replicas_are_replaced_one_after_another_and_one_is_not_beside_its_successor() -> None:
    assert rendered(SMALL)["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    assert rendered(LARGE)["Deployment"]["spec"]["strategy"]["type"] == "RollingUpdate"


def test_new_settings_start_new_pods() -> None:
    def annotation(values: dict[str, Any]) -> Any:
        template = rendered(values)["Deployment"]["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/settings"]

    assert annotation(SMALL) == annotation(SMALL) != annotation({"settings": {"auth": {"auth_type": "sso"}}})


@pytest.mark.parametrize("values", [WITH_WORKFLOWS, LARGE])
def test_the_service_accepts_its_configuration(values: dict[str, Any], tmp_path: Path) -> None:
    manifests = rendered(values)
    file, home = tmp_path / "hpcwaas-api.yml", tmp_path / "home"
    home.mkdir()
    published = tmp_path / "workflows"
    published.mkdir()
    text: str = manifests["ConfigMap"]["data"]["hpcwaas-api.yml"]
    file.write_text(text.replace("/srv/workflows", str(published)))
    file.chmod(0o644)
    given = {each["name"]: each["value"] for each in pod(manifests)["containers"][0]["env"]}
    assert given == {"HWA_LISTEN_ADDRESS": "0.0.0.0:9090", "HWA_DATA_DIR": "/data/hpcwaas"}
    environment = {"PATH": f"{BIN}:{os.defpath}", "HOME": str(home), "HWA_DATA_DIR": str(home / "data")}
    for command in (["db", "upgrade"], ["config", "check"]):
        done = subprocess.run(
            [BIN / "hpcwaas-api", "--config", file, *command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "settings.auth is missing"),
        ({**SMALL, "replicas": 2}, "in one Pod"),
        ({**LARGE, "persistence": {"enabled": True}}, "a data directory of its own"),
        ({**SMALL, "persistence": {"enabled": False}}, "HWA_STORE_URL"),
        ({**SMALL, "replica": 2}, "replica"),
        ({"settings": {"auth": {"auth_type": "basic"}, "data_dir": "/elsewhere"}}, "data_dir"),
        ({**SMALL, "ingress": {"enabled": True}}, "host"),
        ({**SMALL, "serviceMonitor": {"enabled": True}}, "name"),
    ],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], said: str) -> None:
    found = helm(values)
    assert said in found.get("refused", "") + str(found["messages"])
    assert "rendered" not in found
