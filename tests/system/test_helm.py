"""The Helm chart: Helm renders it, Kubernetes' schemas know what it renders, and the service accepts its settings."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.processes import BIN
from tests.postgresql import PostgreSQL
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
SHARED = {
    "replicas": 2,
    "settings": {"auth": {"auth_type": "basic"}, "cwl": {"catalogue": "/shared/workflows"}, "server": {"workers": 2}},
    "existingSecrets": ["hpcwaas"],
    "shared": {"enabled": True, "storageClass": "cephfs"},
    "trustedProxies": ["10.0.0.0/8"],
    "drainSeconds": 25,
}
BARE = {
    **SMALL,
    "existingSecrets": ["hpcwaas"],
    "persistence": {"enabled": False},
    "upgrade": {"enabled": False},
    "serviceAccount": {"create": False},
}


@pytest.fixture
def database() -> Iterator[str]:
    with PostgreSQL() as server:
        yield server.url


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


def workload(manifests: dict[str, Any]) -> Any:
    (kind,) = manifests.keys() & {"Deployment", "StatefulSet"}
    return manifests[kind]["spec"]


def pod(manifests: dict[str, Any]) -> Any:
    return workload(manifests)["template"]["spec"]


def variables(manifests: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in pod(manifests)["containers"][0]["env"]}


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
        (
            SHARED,
            {"ConfigMap", "PersistentVolumeClaim", "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet"},
        ),
        ({**SHARED, "workflows": {"nfs": {"server": "nfs", "path": "/"}}, "persistence": {"enabled": False}}, None),
        (BARE, {"ConfigMap", "Deployment", "Service"}),
    ],
)
def test_what_is_rendered_is_valid_and_runs_with_no_more_rights_than_it_needs(
    values: dict[str, Any], kinds: set[str] | None, tmp_path: Path
) -> None:
    manifests = rendered(values)
    assert kinds is None or manifests.keys() == kinds
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
        assert container["resources"]["requests"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    mounted = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    claimed = {claim["metadata"]["name"] for claim in workload(manifests).get("volumeClaimTemplates", [])}
    assert sorted(mounted) == sorted([*(volume["name"] for volume in spec["volumes"]), *claimed])
    selector = workload(manifests)["selector"]["matchLabels"].items()
    assert selector <= workload(manifests)["template"]["metadata"]["labels"].items()
    assert selector == manifests["Service"]["spec"]["selector"].items()


def test_several_replicas_are_replaced_one_after_another_and_one_is_not_beside_its_successor() -> None:
    assert rendered(SMALL)["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    assert rendered(LARGE)["Deployment"]["spec"]["strategy"]["type"] == "RollingUpdate"


def test_several_pods_of_the_engine_cwl_share_one_volume_and_have_names_and_data_of_their_own() -> None:
    manifests = rendered(SHARED)
    found = workload(manifests)
    (data,) = found["volumeClaimTemplates"]
    assert (data["metadata"]["name"], data["spec"]["accessModes"]) == ("data", ["ReadWriteOnce"])
    claim = manifests["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["storageClassName"] == "cephfs"
    assert {"name": "shared", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}} in pod(manifests)[
        "volumes"
    ]
    first, second = pod(manifests)["initContainers"]
    # What the service never makes by itself is there before anything else of it begins.
    assert first["command"][-1] == variables(manifests)["HWA_SHARED_DIR"] == "/shared/hpcwaas"
    assert second["args"] == ["db", "upgrade"]
    for container in (first, second, *pod(manifests)["containers"]):
        assert {"name": "shared", "mountPath": "/shared"} in container["volumeMounts"]
        assert {"name": "HWA_MACHINE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}} in container["env"]


@pytest.mark.parametrize(
    ("values", "drain"), [(SMALL, 0), (LARGE, 10), (SHARED, 25), (BARE, 10), ({**LARGE, "drainSeconds": 0}, 0)]
)
def test_a_pod_with_others_beside_it_serves_until_proxies_know_and_is_not_killed_before(
    values: dict[str, Any], drain: int
) -> None:
    manifests = rendered(values)
    assert variables(manifests)["HWA_SERVER_DRAIN"] == str(drain)
    assert pod(manifests)["terminationGracePeriodSeconds"] >= drain + 10


def test_new_settings_start_new_pods() -> None:
    def annotation(values: dict[str, Any]) -> Any:
        template = rendered(values)["Deployment"]["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/settings"]

    assert annotation(SMALL) == annotation(SMALL) != annotation({"settings": {"auth": {"auth_type": "sso"}}})


@pytest.mark.parametrize("values", [WITH_WORKFLOWS, LARGE, SHARED])
def test_the_service_accepts_its_configuration(
    values: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    manifests = rendered(values)
    file, home = tmp_path / "hpcwaas-api.yml", tmp_path / "home"
    home.mkdir()
    published = tmp_path / "workflows"
    published.mkdir()
    text: str = manifests["ConfigMap"]["data"]["hpcwaas-api.yml"]
    file.write_text(re.sub("/(srv|shared)/workflows", str(published), text))
    file.chmod(0o644)
    given = variables(manifests)
    assert given.pop("HWA_LISTEN_ADDRESS") == "0.0.0.0:9090"
    assert given.pop("HWA_DATA_DIR") == "/data/hpcwaas"
    environment = {"PATH": f"{BIN}:{os.defpath}", "HOME": str(home), "HWA_DATA_DIR": str(home / "data")}
    environment["HWA_SERVER_DRAIN"] = given.pop("HWA_SERVER_DRAIN")
    if given:
        assert given == {"HWA_SHARED_DIR": "/shared/hpcwaas", "HWA_MACHINE": None}
        made = [word.replace("/shared", str(tmp_path)) for word in pod(manifests)["initContainers"][0]["command"]]
        subprocess.run(made, check=True)
        environment |= {"HWA_SHARED_DIR": made[-1], "HWA_MACHINE": "demo-hpcwaas-0"}
        environment["HWA_STORE_URL"] = request.getfixturevalue("database")
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
        ({**SMALL, "replicas": 2}, "shared.enabled"),
        ({**SHARED, "existingSecrets": []}, "PostgreSQL"),
        ({**SHARED, "persistence": {"existingClaim": "data"}}, "a claim of its own"),
        ({**SHARED, "settings": {"auth": {"auth_type": "basic"}}}, "settings.cwl.catalogue"),
        ({**SHARED, "workflows": {"configMap": {"name": "workflows"}}}, "workflows.configMap"),
        ({"settings": {"auth": {"auth_type": "basic"}, "machine": "a"}}, "machine"),
        ({"settings": {"auth": {"auth_type": "basic"}, "server": {"drain": 5}}}, "drain"),
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
