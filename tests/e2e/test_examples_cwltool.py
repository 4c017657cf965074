"""The examples do what they promise, run by nothing but the command `cwltool`."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = EXAMPLES / "data"
BIN = Path(sys.executable).parent
SVG = "{http://www.w3.org/2000/svg}"


def cwltool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # A tool is started as `python3`: the one that runs the tests.
    environment = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        [BIN / "cwltool", "--disable-color", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def run(directory: Path, workflow: str, **inputs: Any) -> dict[str, Any]:
    """Runs an example, with files given as paths; returns the output object."""
    order = directory / "order.json"
    order.write_text(json.dumps(inputs, default=lambda path: {"class": "File", "path": str(path)}))
    answer = cwltool("--outdir", directory / "outputs", EXAMPLES / workflow / "main.cwl", order)
    assert answer.returncode == 0, answer.stderr
    outputs: dict[str, Any] = json.loads(answer.stdout)
    return outputs


def rows(file: dict[str, Any]) -> list[dict[str, str]]:
    with Path(file["path"]).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("workflow", sorted(path.parent.name for path in EXAMPLES.glob("*/main.cwl")))
def test_document_is_valid_without_warnings(workflow: str) -> None:
    answer = cwltool("--validate", EXAMPLES / workflow / "main.cwl")

    assert answer.returncode == 0, answer.stderr
    assert "WARNING" not in answer.stderr


def test_word_statistics_counts_each_file_and_all(tmp_path: Path) -> None:
    texts = {"one.txt": "The cat; the dog.\n", "two.txt": "\ufeffDon\u2019t wake THE cat! 42\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    outputs = run(tmp_path, "word-statistics", texts=[tmp_path / name for name in texts], top=2)

    assert outputs["total"] == 8
    assert outputs["distinct"] == 5
    assert outputs["frequent"] == ["the", "cat"]
    assert [list(row.values()) for row in rows(outputs["table"])] == [
        ["the", "3", "2", "1"],
        ["cat", "2", "1", "1"],
        ["dog", "1", "1", "0"],
        ["don\u2019t", "1", "0", "1"],
        ["wake", "1", "0", "1"],
    ]
    assert list(rows(outputs["table"])[0]) == ["word", "total", "one.txt", "two.txt"]
    assert [json.loads(Path(file["path"]).read_text())["file"] for file in outputs["counts"]] == list(texts)


def test_word_statistics_of_the_sample_texts(tmp_path: Path) -> None:
    outputs = run(tmp_path, "word-statistics", texts=sorted(DATA.glob("*.txt")))

    assert len(outputs["frequent"]) == 10
    assert outputs["frequent"][:3] == ["the", "of", "a"]
    assert sum(int(row["total"]) for row in rows(outputs["table"])) == outputs["total"]


def test_word_statistics_refuses_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / "order.json").write_text(json.dumps({"texts": [{"class": "File", "path": "photo.jpg"}]}))

    answer = cwltool("--outdir", tmp_path, EXAMPLES / "word-statistics" / "main.cwl", tmp_path / "order.json")

    assert answer.returncode == 1
    assert "photo.jpg isn't a text in UTF-8" in answer.stderr


def test_parameter_sweep_leaves_table_plot_and_curves(tmp_path: Path) -> None:
    outputs = run(tmp_path, "parameter-sweep", transmission_rates=[0.05, 0.2, 0.4], days=400, population=10000)

    table = rows(outputs["table"])
    assert [row["reproduction_number"] for row in table] == ["0.50", "2.00", "4.00"]
    # Below 1 an epidemic dies out; above, the known final sizes of the model: z = 1 - exp(-R z).
    assert float(table[0]["ever_infected"]) < 50
    assert float(table[1]["ever_infected"]) == pytest.approx(7968, rel=0.005)
    assert float(table[2]["ever_infected"]) == pytest.approx(9802, rel=0.005)
    names = {file["basename"] for file in outputs["curves"]["listing"]}
    assert names == {"rate-0.05.csv", "rate-0.2.csv", "rate-0.4.csv"}
    for file in outputs["curves"]["listing"]:
        days = rows(file)
        assert [int(day["day"]) for day in days] == list(range(401))
        assert {
            round(float(day["susceptible"]) + float(day["infected"]) + float(day["recovered"])) for day in days
        } == {10000}

    plot = ET.parse(outputs["plot"]["path"]).getroot()  # noqa: S314  (made by the example just now)
    assert plot.tag == f"{SVG}svg"
    assert len(plot.findall(f"{SVG}polyline")) == 3
    texts = [text.text for text in plot.iter(f"{SVG}text")]
    assert {"Day", "Infected people", "400", "0.05", "0.2", "0.4"} <= set(texts)


def test_parameter_sweep_names_all_wrong_parameters(tmp_path: Path) -> None:
    main = EXAMPLES / "parameter-sweep" / "main.cwl"

    answer = cwltool("--outdir", tmp_path, main, "--days", "0", "--infected", "200000")

    assert answer.returncode == 1
    assert "infected is 200000; expected 0 to the population, 100000" in answer.stderr
    assert "days is 0; expected 1 or more" in answer.stderr


def test_slow_count_tells_its_progress(tmp_path: Path) -> None:
    answer = cwltool("--outdir", tmp_path, EXAMPLES / "slow-count" / "main.cwl", "--seconds", "1")

    assert answer.returncode == 0, answer.stderr
    assert "1 of 1" in answer.stderr
    outputs = json.loads(answer.stdout)
    assert 0 <= outputs["mean_delay"] <= outputs["worst_delay"] < 1
    assert [row["count"] for row in rows(outputs["ticks"])] == ["1"]


@pytest.mark.parametrize("arguments", [[], ["--records", str(DATA / "measurements.csv")]])
def test_failing_halfway_names_the_wrong_lines(tmp_path: Path, arguments: list[str]) -> None:
    answer = cwltool("--outdir", tmp_path, EXAMPLES / "failing-halfway" / "main.cwl", *arguments)

    assert answer.returncode == 1
    assert "line 11: temperature is 'n/a', expected a number" in answer.stderr
    assert "line 16: temperature is 121.0, expected °C between -90 and 60" in answer.stderr
    assert "2 of 18 records are wrong" in answer.stderr
    assert "starting step summarise" not in answer.stderr
    outputs = json.loads(answer.stdout)
    assert outputs["means"] is None
    assert len(rows(outputs["normalised"])) == 18


def test_failing_halfway_succeeds_with_correct_records(tmp_path: Path) -> None:
    outputs = run(tmp_path, "failing-halfway", records=DATA / "measurements-corrected.csv")

    assert rows(outputs["means"]) == [
        {"station": "Glencree", "days": "6", "mean": "7.50"},
        {"station": "Malin Head", "days": "6", "mean": "7.40"},
        {"station": "Valentia", "days": "6", "mean": "12.22"},
    ]
