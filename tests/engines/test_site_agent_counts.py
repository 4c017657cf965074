"""How many runs of a scattered step there are on a site, by what Toil and cwltool say."""

from __future__ import annotations

from typing import Any

from hpcwaas.engines.cwl.sites.agent.runs import again
from hpcwaas.engines.cwl.sites.agent.steps import Steps, finished
from tests.engines.test_site_agent_steps import DATA, OUTER, SWEEP


def counts(step: str, steps: Steps) -> Any:
    """How far a step has come: total, done, failed, skipped, running."""
    [scatter] = [each["scatter"] for each in steps.all() if each["name"] == step]
    return scatter and tuple(scatter.values())


def told(steps: Steps, name: str, step: str) -> list[Any]:
    """What is told of a step's runs by and by."""
    seen: list[Any] = [None]
    for line in (DATA / name).read_text().splitlines():
        steps.toil(line.split("\t"))
        if counts(step, steps) != seen[-1]:
            seen.append(counts(step, steps))
    return seen[1:]


def scattered(*names: str, **more: Any) -> list[dict[str, Any]]:
    common = {"label": None, "processes": ["tool.cwl"], "process": "tool.cwl", "scatter": True}
    return [{"name": name, **common, **more} for name in names]


def test_runs_of_toil_are_counted() -> None:
    steps = Steps([dict(step, scatter=step["name"] == "simulate") for step in SWEEP])

    assert told(steps, "toil-scatter.messages", "simulate") == [
        *((number, 0, 0, 0, number) for number in range(1, 7)),
        *((6, number, 0, 0, 6 - number) for number in range(1, 7)),
    ]
    assert counts("tabulate", steps) is None


def test_a_run_that_is_a_workflow_ends_with_it() -> None:
    steps = Steps([dict(step, scatter=step["name"] == "many", process="inner.cwl") for step in OUTER])

    assert told(steps, "toil-inner-workflow.messages", "many") == [
        (1, 0, 0, 0, 1),
        (2, 0, 0, 0, 2),
        (2, 1, 0, 0, 1),
        (2, 2, 0, 0, 0),
    ]


def begun(steps: Steps) -> None:
    steps.toil(["JobIssuedMessage", "w", "kind-CWLWorkflow/w", "0"])


def test_runs_of_toil_that_a_condition_leaves_out_and_that_fail() -> None:
    steps = Steps(scattered("a"))
    begun(steps)
    for number in "012":
        steps.toil(["JobIssuedMessage", f"w.{number}.tool.cwl._wrapper", f"kind-CWLJobWrapper/w{number}", number])
    assert counts("a", steps) == (3, 0, 0, 0, 3)

    for number in "012":
        steps.toil(["JobCompletedMessage", f"w.{number}.tool.cwl._wrapper", f"kind-CWLJobWrapper/w{number}", "0"])
    for number in "12":
        steps.toil(["JobIssuedMessage", f"w.{number}.tool.cwl", f"kind-CWLJob/j{number}", f"1{number}"])
    assert counts("a", steps) == (3, 1, 0, 1, 2)

    steps.toil(["JobCompletedMessage", "w.1.tool.cwl", "kind-CWLJob/j1", "0"])
    steps.toil(["JobCompletedMessage", "w.2.tool.cwl", "kind-CWLJob/j2", "1"])
    assert counts("a", steps) == (3, 2, 0, 1, 1)
    steps.toil(["JobFailedMessage", "w.2.tool.cwl", "kind-CWLJob/j2"])
    assert counts("a", steps) == (3, 3, 1, 1, 0)


def test_runs_of_the_same_name_are_counted_and_one_that_is_tried_again_once() -> None:
    steps = Steps(scattered("a", processes=["_:1234"], process="_:1234"))
    begun(steps)
    for number in range(4):
        steps.toil(["JobIssuedMessage", f"w.{number % 2}._:9876", f"kind-CWLJob/{number}", str(number)])
    steps.toil(["JobCompletedMessage", "w.0._:9876", "kind-CWLJob/0", "1"])
    steps.toil(["JobIssuedMessage", "w.0._:9876", "kind-CWLJob/0", "4"])
    assert counts("a", steps) == (4, 0, 0, 0, 4)
    for number in range(4):
        steps.toil(["JobCompletedMessage", f"w.{number % 2}._:9876", f"kind-CWLJob/{number}", "0"])
    assert counts("a", steps) == (4, 4, 0, 0, 0)


def test_what_was_done_before_a_resumption_stays_done() -> None:
    before = {"total": 5, "done": 4, "failed": 1, "skipped": 1, "running": 1}
    stood = {"name": "a", "status": "PENDING", "started_at": None, "scatter": again(before)}
    steps = Steps(scattered("a"), [stood], "w")
    assert counts("a", steps) == (5, 3, 0, 1, 0)
    for number in "14":
        steps.toil(["JobIssuedMessage", f"w.{number}.tool.cwl", f"kind-CWLJob/j{number}", number])
    assert counts("a", steps) == (5, 3, 0, 1, 2)
    for number in "14":
        steps.toil(["JobCompletedMessage", f"w.{number}.tool.cwl", f"kind-CWLJob/j{number}", "0"])
    assert counts("a", steps) == (5, 5, 0, 1, 0)


def test_runs_of_cwltool_are_counted_as_they_begin() -> None:
    steps = Steps([*scattered("a", total=4), *scattered("b"), {"name": "once", "label": None, "scatter": False}])

    def say(*texts: str) -> Any:
        for text in texts:
            steps.cwltool(text)
        return counts("a", steps)

    assert say() is None
    assert say("[step a] start", "[job a] /x$ true") == (4, 0, 0, 0, 1)
    assert say("[job a] completed success", "[step a] start", "[step inner] start") == (4, 1, 0, 0, 1)
    assert say("[job inner] completed permanentFail", "[step a] start") == (4, 2, 1, 0, 1)
    assert say("[step a] completed skipped") == (4, 4, 1, 1, 0)
    assert say("[step b] start", "[step b] start", "[step b] completed success") == (4, 4, 1, 1, 0)
    assert counts("b", steps) == (2, 2, 0, 0, 0)
    assert say("[step once] start")
    assert counts("once", steps) is None


def test_what_cwltool_does_at_once_is_counted_by_its_ends() -> None:
    steps = Steps([*scattered("a", total=3), *scattered("b")], parallel=True)
    for text in ("[step a] start", "[step b] start", "[step a] start", "[job b] completed success"):
        steps.cwltool(text)
    assert (counts("a", steps), counts("b", steps)) == ((3, 0, 0, 0, 0), (None, 1, 0, 0, 0))
    for text in ("[step a] start", "[job a_2] completed success", "[workflow a] completed permanentFail"):
        steps.cwltool(text)
    assert counts("a", steps) == (3, 2, 1, 0, 0)


def test_of_what_is_over_nothing_runs() -> None:
    steps = Steps(scattered("a", total=3))
    steps.cwltool("[step a] start")
    [step] = finished(steps.all(), "CANCELLED")
    assert step["scatter"] == {"total": 3, "done": 0, "failed": 0, "skipped": 0, "running": 0}


def test_ten_thousand_runs_are_one_step() -> None:
    steps = Steps(scattered("a"))
    begun(steps)
    for number in range(10_000):
        steps.toil(["JobIssuedMessage", f"w.{number}.tool.cwl", f"kind-CWLJob/{number}", str(number)])
    for number in range(9_999, 0, -1):
        steps.toil(["JobCompletedMessage", f"w.{number}.tool.cwl", f"kind-CWLJob/{number}", "0"])
    assert counts("a", steps) == (10_000, 9_999, 0, 0, 1)
    assert len(steps.all()) == 1
