"""What is counted: by several processes, and by labels that nobody can make up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import hpcwaas.app
import hpcwaas.server.logs  # noqa: F401 # both declare what they count
from hpcwaas.common import metrics
from hpcwaas.common.metrics import Counter, Family, Gauge, Histogram, Reading
from hpcwaas.configuration.metrics import table

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test declares is forgotten, and nothing is counted after it."""
    monkeypatch.setattr(Family, "all", [])
    metrics.share({}, 0)
    yield
    monkeypatch.undo()
    metrics.share({}, 0)


def figures(family: Family) -> dict[tuple[str, ...], list[float]]:
    return {labels: [*found] for labels, found in metrics.values(family)}


def test_nothing_is_counted_before_there_is_memory_for_it() -> None:
    calls = Counter("calls", "Calls.", result=("ok",))
    calls.add("ok")
    assert figures(calls) == {}


def test_every_combination_is_there_from_the_start() -> None:
    calls = Counter("calls", "Calls.", site=None, result=("ok", "failed"))
    metrics.share({"site": ["mare"]}, 1)
    metrics.begin(0)
    assert figures(calls) == {(site, result): [0.0] for site in ("mare", "other") for result in ("ok", "failed")}


def test_a_value_that_nobody_knew_counts_as_other() -> None:
    calls = Counter("calls", "Calls.", site=None, result=("ok", "failed"))
    metrics.share({"site": ["mare"]}, 1)
    metrics.begin(0)
    for number in range(100):
        calls.add(f"made up {number}", "ok")
    calls.add("mare", "nonsense")  # no value of a label that is fixed: it would be a defect, and fails no request
    assert figures(calls)["other", "ok"] == [100.0]
    assert len(figures(calls)) == 4


def test_of_combinations_some_may_be_all_there_are() -> None:
    calls = Counter("calls", "Calls.", operation=None, status=None)
    metrics.share({}, 1, {calls: iter([("read", "200"), ("read", "other"), ("other", "other")])})
    metrics.begin(0)
    for labels in (("read", "200"), ("read", "418"), ("write", "200")):
        calls.add(*labels)
    assert figures(calls) == {("read", "200"): [1.0], ("read", "other"): [1.0], ("other", "other"): [1.0]}


def test_processes_are_added_up_and_a_new_one_goes_on_where_another_ended() -> None:
    calls, open_ = Counter("calls", "Calls."), Gauge("open", "Open.")
    metrics.share({}, 2)
    for row in (0, 1):
        metrics.begin(row)
        calls.add()
        open_.add(by=3)
    assert (figures(calls), figures(open_)) == ({(): [2.0]}, {(): [6.0]})
    metrics.end(0)  # it was killed: nothing is open in it any more
    assert (figures(calls), figures(open_), [*metrics.processes()]) == ({(): [2.0]}, {(): [3.0]}, [1])
    metrics.begin(0)
    calls.add()
    assert (figures(calls), figures(open_), [*metrics.processes()]) == ({(): [3.0]}, {(): [3.0]}, [0, 1])


def test_a_process_without_a_row_disturbs_no_other() -> None:
    calls = Counter("calls", "Calls.")
    metrics.share({}, 1)
    calls.add()
    metrics.begin(0)
    calls.add()
    metrics.begin(7)  # more than there is memory for: it counts where it did
    assert figures(calls) == {(): [1.0]}


def test_the_least_of_all_processes_counts_where_it_matters() -> None:
    ends = Gauge("ends", "Ends.", least=True)
    metrics.share({}, 3)
    metrics.begin(0)
    assert figures(ends) == {}
    ends.put(20.0)
    metrics.begin(1)
    ends.put(10.0)
    metrics.begin(2)
    assert figures(ends) == {(): [10.0]}


def test_times_are_counted_by_their_bounds() -> None:
    took = Histogram("took", "Took.", (0.1, 1.0))
    metrics.share({}, 1)
    metrics.begin(0)
    for seconds in (0.05, 0.1, 0.5, 7.0):
        took.observe(seconds)
    assert figures(took) == {(): [2.0, 1.0, 1.0, pytest.approx(7.65)]}


def test_threads_lose_no_count() -> None:
    calls, took = Counter("calls", "Calls."), Histogram("took", "Took.", (1.0,))
    metrics.share({}, 1)
    metrics.begin(0)

    def work() -> None:
        for _ in range(2000):
            calls.add()
            took.observe(0.5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (figures(calls), figures(took)) == ({(): [16000.0]}, {(): [16000.0, 0.0, 8000.0]})


def test_what_is_read_takes_no_memory() -> None:
    found = Reading("found", "Found.", site=None)
    metrics.share({"site": ["mare"]}, 1)
    metrics.begin(0)
    assert figures(found) == {}


def test_the_reference_is_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert PAGE.read_text(encoding="utf-8") == table(), "run: make references"


def test_names_are_those_that_prometheus_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    table()
    names = [family.name for family in Family.all]
    assert len(names) == len(set(names)) > 20
    assert [name for name in names if name.endswith(("_total", "_count", "_sum", "_bucket"))] == []
    assert [family.name for family in Family.all if not family.text.endswith(".")] == []
