"""Which services may use one data directory at the same time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpcwaas.errors import ConfigurationError
from hpcwaas.server.gunicorn import _lock


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
def test_one_with_its_records_in_it_is_alone(tmp_path: Path, first: bool, second: bool) -> None:
    lock = _lock(tmp_path, shared=first)
    os.pwrite(lock, b"process 1, http://here\n", 0)
    with pytest.raises(ConfigurationError, match=r"process 1, http://here"):
        _lock(tmp_path, shared=second)
    os.close(lock)
    os.close(_lock(tmp_path, shared=second))


def test_those_with_their_records_elsewhere_share_it(tmp_path: Path) -> None:
    locks = [_lock(tmp_path, shared=True) for _ in range(3)]
    for lock in locks:
        os.close(lock)
