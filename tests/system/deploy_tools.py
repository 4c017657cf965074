"""Run by the Python of .venv-deploy: what the tools themselves say about files of `deploy/`, as JSON.

Usage: deploy_tools.py helm CHART VALUES | kubernetes VERSION MANIFESTS | compose FILE | tosca FILE
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml


def helm(chart: str, values: str) -> Any:
    """What `helm lint --strict` and `helm template` give; or why they don't.

    Args:
        values: a file, in JSON.
    """
    import helm_python

    given = json.loads(Path(values).read_text(encoding="utf-8"))
    linted = helm_python.lint(chart, given, strict=True, kube_version="v1.31.0")
    messages = [message["error"] for message in linted["messages"] if message["severity"] > 1]
    loaded = helm_python.Chart.load(chart)
    try:
        loaded.validate_schema(given)
        rendered = loaded.render(given, name="demo", namespace="waas", is_install=True)
    except helm_python.HelmError as error:
        return {"messages": messages, "refused": str(error)}
    return {"messages": messages + linted["errors"], "rendered": rendered}


def kubernetes(version: str, manifests: str) -> Any:
    """Problems of manifests by the schemas of Kubernetes, and the kinds for which there are none."""
    import kubernetes_validate

    problems, unknown = [], []
    for manifest in yaml.safe_load_all(Path(manifests).read_text(encoding="utf-8")):
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.append(manifest["kind"])
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{manifest['kind']}: {error.path}: {error.message}")
    return {"problems": problems, "unknown": unknown}


def compose(file: str) -> Any:
    """The services of a compose file; an error names what it shouldn't have."""
    from compose_spec import PyCompose
    from compose_spec.compose_spec import PyOptions

    options = PyOptions()
    options.apply_merge = True
    parsed = PyCompose(options.from_yaml(Path(file).read_text(encoding="utf-8")))
    parsed.validate()
    parsed.to_spec()
    return parsed.to_dict()["services"]


def tosca(file: str) -> Any:
    """The node templates of a topology."""
    from toscaparser.tosca_template import ToscaTemplate

    return [template.name for template in ToscaTemplate(file).nodetemplates]


if __name__ == "__main__":
    ways: dict[str, Callable[..., Any]] = {"helm": helm, "kubernetes": kubernetes, "compose": compose, "tosca": tosca}
    print(json.dumps(ways[sys.argv[1]](*sys.argv[2:])))  # noqa: T201
