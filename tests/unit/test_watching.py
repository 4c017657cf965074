"""The dashboard and the alerts in `deploy/` know the metrics that there are, and all of them are looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import hpcwaas.app
import hpcwaas.server.logs  # noqa: F401 # both declare what they count
from hpcwaas.common.metrics import Family, Histogram
from hpcwaas.configuration.metrics import table

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "hpcwaas.rules.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana" / "hpcwaas.json").read_text(encoding="utf-8"))
NAME = re.compile(r"\bhpcwaas_[a-z_]+(\{[^}]*\})?")
LABEL = re.compile(r"(\w+)(=~|!~|!=|=)\"([^\"]*)\"")
OF_PROMETHEUS = {"job", "instance", "le"}


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    yield from (alert["expr"] for alert in ALERTS)


def families() -> dict[str, Family]:
    """By the names that Prometheus knows."""
    table()  # which loads what declares them
    found: dict[str, Family] = {}
    for family in Family.all:
        found[family.name + ("_total" if family.kind == "counter" else "")] = family
        if isinstance(family, Histogram):
            found |= {f"{family.name}_{part}": family for part in ("bucket", "count", "sum")}
    return found


def test_every_figure_that_is_looked_at_exists_with_these_labels() -> None:
    known = families()
    for expression in expressions():
        for found in NAME.finditer(expression):
            name = found[0].partition("{")[0]
            assert name in known, expression
            for label, sign, value in LABEL.findall(found[1] or ""):
                assert label in {*known[name].labels, *OF_PROMETHEUS}, expression
                values = known[name].labels.get(label)
                if values and "$" not in value:
                    wanted = value.split("|") if "~" in sign else [value]
                    assert {*wanted} <= {*values}, expression


def test_every_label_that_is_grouped_by_exists() -> None:
    known = families()
    for expression in expressions():
        labels = {label for found in NAME.finditer(expression) for label in known[found[0].partition("{")[0]].labels}
        for group in re.findall(r"(?:by|on) \(([^)]*)\)", expression):
            assert {label.strip() for label in group.split(",")} <= labels | OF_PROMETHEUS, expression


def test_every_metric_is_looked_at() -> None:
    looked_at = {found[0].partition("{")[0] for expression in expressions() for found in NAME.finditer(expression)}
    known = families()
    assert {known[name].name for name in looked_at} == {family.name for family in Family.all}


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("warning", "critical"), alert
        assert alert["annotations"]["summary"].endswith("."), alert
        assert alert["annotations"]["description"].endswith("."), alert
        named: set[str] = set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"])))
        grouped: set[str] = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", alert["expr"]))))
        assert not grouped or named <= grouped, alert


def test_every_panel_has_its_place() -> None:
    places: set[tuple[int, int]] = set()
    ids: list[Any] = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        own = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not own & places, panel["title"]
        assert at["x"] + at["w"] <= 24
        places |= own
