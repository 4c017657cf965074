"""Runs cwltool inside this process, which has been forked from one that has it imported already."""

from __future__ import annotations

import json
import logging
import math
import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import cwltool.executors
import cwltool.main
from cwltool.argparser import arg_parser
from cwltool.command_line_tool import CommandLineTool
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.executors import MultithreadedJobExecutor
from cwltool.load_tool import default_loader
from cwltool.mutation import MutationManager
from cwltool.process import get_schema
from cwltool.stdfsaccess import StdFsAccess
from cwltool.utils import visit_class
from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from schema_salad.fetcher import DefaultFetcher
from schema_salad.ref_resolver import uri_file_path

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.run.channel import FrameHandler
from hpcwaas.engines.cwl.run.deliverable import Tidier
from hpcwaas.engines.cwl.run.scatters import Scatters
from hpcwaas.engines.cwl.storage import spool

_ASSUMED_MEMORY = 1024
"""MiB that CWL assumes at most of a tool that doesn't say what it needs; no reason to refuse it."""

_RECURSION = 5000
"""Calls inside each other: it takes several for each level of directories, of which there may be 100."""

_MOST_WAITING = 64
"""Jobs that have been made and wait for cores and memory."""

_SHORT_PAUSE = 0.002
_LONG_PAUSE = 0.5


def warm_up() -> None:
    """Loads the schemas of all CWL versions, so that forked processes have them."""
    for version in ("v1.0", "v1.1", "v1.2"):
        get_schema(version)


class _Executor(MultithreadedJobExecutor):  # type: ignore[misc]  # cwltool's types are not followed
    """Runs jobs in parallel as far as an execution's cores and memory go."""

    def __init__(self, cores: int, memory_mib: int, whose: Callable[[str], str], scatters: Scatters) -> None:
        super().__init__()
        self._whose = whose
        self._scatters = scatters
        self.max_cores = float(cores)
        self.max_ram = memory_mib
        self._pause = _SHORT_PAUSE

    def select_resources(self, request: dict[str, float], runtime_context: Any) -> dict[str, float]:
        request = dict(request)
        if request["ramMin"] <= _ASSUMED_MEMORY:
            request["ramMin"] = min(request["ramMin"], self.max_ram)
        if request["coresMin"] > self.max_cores:
            raise WorkflowException(
                f"The tool needs {request['coresMin']:g} cores, but an execution may use {self.max_cores:g} "
                f"({self._whose('cores')})."
            )
        if request["ramMin"] > self.max_ram:
            raise WorkflowException(
                f"The tool needs {request['ramMin']:g} MiB of memory, but an execution may use {self.max_ram} MiB "
                f"({self._whose('memory')})."
            )
        selected: dict[str, float] = super().select_resources(request, runtime_context)
        return selected

    def run_job(self, job: Any, runtime_context: Any) -> None:
        super().run_job(job, runtime_context)
        # cwltool would make all jobs of a scatter before it heeds the end of the first one, and look through all that
        # wait for each that it makes: with some thousands, nothing would get on for minutes.
        while len(self.pending_jobs) > _MOST_WAITING and self.taskqueue.in_flight > 0:
            self._scatters.tell()
            self.wait_for_next_completion(runtime_context)
            super().run_job(None, runtime_context)
        self._scatters.tell()

    def _runner(self, job: Any, *args: Any) -> None:
        self._scatters.begin(job)
        super()._runner(job, *args)

    def wait_for_next_completion(self, runtime_context: Any) -> None:
        # As the base does, but not for three seconds each time: a job tells of its end before it counts as ended, so
        # that another look is due soon after each such message.
        told = runtime_context.workflow_eval_lock.wait(timeout=self._pause)
        self._pause = _SHORT_PAUSE if told else min(2 * self._pause, _LONG_PAUSE)
        if self.exceptions:
            raise self.exceptions[0]

    def execute(self, *args: Any, **more: Any) -> tuple[dict[str, Any] | None, str]:
        try:
            out, status = super().execute(*args, **more)
        finally:
            self._scatters.tell(now=True)

        def forget_listing(folder: dict[str, JSON]) -> None:
            if "location" in folder:
                folder.pop("listing", None)

        # Nobody reads it, and that of a directory with many files is larger than an output object may be.
        visit_class(out, ("Directory",), forget_listing)
        return out, status


def _tidy_before_collecting(known: Sequence[Path]) -> None:
    """Lets tools' outputs be tidied before they are collected."""
    collect = CommandLineTool.collect_output_ports

    def tidy_and_collect(self: Any, ports: Any, builder: Any, outdir: str, *args: Any, **more: Any) -> Any:
        Tidier(Path(outdir), builder.outdir, known, logging.getLogger("cwltool").warning).tidy()
        return collect(self, ports, builder, outdir, *args, **more)

    CommandLineTool.collect_output_ports = tidy_and_collect


def _tell_of_containers() -> None:
    """Lets the log say that a tool runs without the container that it asks for; cwltool says nothing of it."""
    make_job_runner = CommandLineTool.make_job_runner
    told: set[str] = set()

    def make_and_tell(self: Any, context: Any) -> Any:
        runner = make_job_runner(self, context)  # raises when the container isn't a mere hint
        container = self.get_requirement("DockerRequirement")[0]
        image = str((container or {}).get("dockerPull") or (container or {}).get("dockerImageId") or "of its own")
        if container and not context.use_container and image not in told:
            told.add(image)
            logging.getLogger("cwltool").warning(
                "A tool has the hint to run in the container %s. Containers are turned off here, so it runs without.",
                image,
            )
        return runner

    CommandLineTool.make_job_runner = make_and_tell


class _Fetcher(DefaultFetcher):  # type: ignore[misc]
    """Reads files only: ontologies elsewhere (`$schemas`) are done without, with a warning in the log."""

    def __init__(self, cache: Any, session: Any) -> None:
        super().__init__(cache, None)

    def check_exists(self, url: str) -> bool:
        return not url.startswith("file:") or bool(super().check_exists(url))


def _access(places: Sequence[Path]) -> type[StdFsAccess]:
    """Access to the files of an execution and no others, whatever an output's binding or an expression names."""
    roots = {function(place) for place in places for function in (os.path.abspath, os.path.realpath)}

    def refuse_elsewhere(path: str, shown: str) -> None:
        if not any(_inside(path, root) for root in roots):
            raise WorkflowException(
                f"{shown} lies outside the files of this execution: it can't be an input or output."
            )

    class Access(StdFsAccess):  # type: ignore[misc]
        """Refuses what lies elsewhere. Links inside of directories are left to whoever follows them."""

        def glob(self, pattern: str) -> list[str]:
            if not _inside(os.path.normpath(super()._abs(pattern)), os.path.normpath(self.basedir)):
                raise WorkflowException(
                    f"{pattern.removeprefix(self.basedir + os.sep)} leads out of the output directory: only what a "
                    "tool leaves there can be an output."
                )
            found: list[str] = super().glob(pattern)
            for match in found:
                refuse_elsewhere(os.path.realpath(super()._abs(match)), match)
            return found

        def exists(self, fn: str) -> bool:
            # Beside a file that is written out in the inputs, which has no place yet, there is nothing.
            return not fn.startswith("_:") and bool(super().exists(fn))

        def _abs(self, p: str) -> str:
            path: str = super()._abs(p)
            if path.startswith(os.sep):  # no URL
                refuse_elsewhere(os.path.normpath(path), p)
            return path

    return Access


class _Mutations(MutationManager):  # type: ignore[misc]
    """Opens an input for writing when a tool is to change it in place: it is a copy, and closed until then."""

    def register_mutation(self, stepname: str, obj: Any) -> None:
        super().register_mutation(stepname, obj)
        path = Path(uri_file_path(obj["location"]))
        if path.is_file():
            path.chmod(path.stat().st_mode | stat.S_IWUSR)


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _load_order(arguments: Any, *_: Any) -> tuple[dict[str, JSON], str, Any]:
    """Reads the order as the JSON that it is. cwltool would take it for a linked YAML document, in which strings called
    `path` or `location` are resolved wherever they stand, and the locations of files are decoded once too often."""
    path = Path(arguments.job_order[0])
    numbers = YAML(typ="rt").constructor

    def number(text: str) -> float:
        """A float that comes to a command line as it was written, exponents aside; Python would write 1.1 for 1.10."""
        value = float(text)
        if value == 0 and "e" in text.lower():  # it may have billions of digits
            return value
        return numbers.construct_yaml_float(ScalarNode("tag:yaml.org,2002:float", text))  # type: ignore[no-any-return]

    order: dict[str, JSON] = json.loads(path.read_bytes(), parse_float=number)

    def locate(item: dict[str, JSON]) -> None:
        if "location" in item:
            item["location"] = f"{path.parent.as_uri()}/{item['location']}"

    visit_class(order, ("File", "Directory"), locate)
    return order, str(path.parent), default_loader()


def run_cwltool(
    arguments: list[str],
    output: TextIO,
    handler: FrameHandler,
    *,
    steps: Sequence[str],
    cores: int,
    memory: int,
    places: Sequence[Path],
    whose: Callable[[str], str],
) -> int:
    """Runs a workflow as the `cwltool` command would.

    Args:
        arguments: of the command.
        output: takes the output object.
        handler: takes cwltool's messages, and how far scattered steps have come.
        steps: names of the workflow's.
        memory: bytes.
        places: in which files may lie that the workflow names or makes.
        whose: what sets a limit, for people.

    Returns:
        the exit status.
    """
    sys.argv[:] = ["cwltool", *arguments]
    parsed = arg_parser().parse_args(arguments)
    executor = _Executor(cores, max(1, math.floor(memory / 2**20)), whose, Scatters(steps, handler.count))
    context = RuntimeContext(vars(parsed))
    context.make_fs_access = _access(places)
    context.select_resources = executor.select_resources
    cwltool.main.load_job_order = _load_order
    cwltool.executors.MutationManager = _Mutations
    sys.setrecursionlimit(_RECURSION)
    directory = Path(parsed.job_order[0]).parent
    document = Path(parsed.workflow.partition("#")[0])
    _tidy_before_collecting((directory / spool.INPUTS, directory / spool.TEMPORARY, document.parent))
    _tell_of_containers()
    # Without the callback cwltool throws away the schemas that have been loaded.
    status: int = cwltool.main.main(
        args=parsed,
        stdout=output,
        stderr=os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace"),
        logger_handler=handler,
        custom_schema_callback=lambda: None,
        executor=executor,
        loadingContext=LoadingContext(vars(parsed) | {"fetcher_constructor": _Fetcher}),
        runtimeContext=context,
    )
    return status
