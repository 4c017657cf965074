"""A program: gets a secret id ready, as the service does before it makes its processes, and logs in by each of these.

Its arguments are the settings of the vault, the file of the lock, and how many processes it forks once a line is read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hpcwaas.vault import login
from hpcwaas.vault.secret_id import SecretId
from hpcwaas.vault.settings import HashiCorpSettings


def log_in(settings: HashiCorpSettings, secret_id: SecretId) -> None:
    clients = login.Clients(settings)
    login.make_login(settings, secret_id)(clients)
    clients.close()


def main(text: str, lock: str, count: str) -> None:
    settings = HashiCorpSettings.model_validate_json(text)
    secret_id = login.prepare(settings, Path(lock))
    assert secret_id is not None
    print("prepared", flush=True)  # noqa: T201
    sys.stdin.readline()
    processes = []
    for _ in range(int(count)):
        process = os.fork()
        if process == 0:
            log_in(settings, secret_id)
            sys.exit()
        processes.append(process)
    ends = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    print(ends)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
