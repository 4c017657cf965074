"""What depends on how Slurm tells of jobs, on a site that has a database of them (slurmdbd)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system import test_sites
from tests.system.slurm_site import Site, one_node

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with one_node(accounting=True) as site:
        yield site


service = test_sites.service
alice = test_sites.alice
test_the_examples_run_unchanged = test_sites.test_the_examples_run_unchanged
test_what_a_job_does_is_said_in_plain_words = test_sites.test_what_a_job_does_is_said_in_plain_words
test_a_jobs_times_are_those_of_slurm = test_sites.test_a_jobs_times_are_those_of_slurm
