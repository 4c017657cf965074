"""What one user may have, the record of what they did, and where all of it is kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hpcwaas.configuration.settings.values import Section, Size


class LimitsPerUser(Section):
    """What one user may have or do. Beyond it the answer is 429."""

    executions: int | None = Field(100, gt=0, description="Executions that haven't ended.")
    stored: Size | None = Field(
        100 * 2**30,
        description=(
            "Uploaded files together with what is kept of executions (inputs, outputs, logs), in bytes or with a unit. "
            "Whoever is above it can't start an execution either."
        ),
    )
    inputs: Size = Field(
        256 * 2**10,
        description="Inputs of one execution, as JSON. What is larger is refused (413) and belongs into a file.",
    )
    requests: int | None = Field(6000, gt=0, description="Requests per minute to one worker process.")


class AuditSettings(Section):
    """The record of who did what: one JSON object a line."""

    file: Path | None = Field(None, description="File to append to. Default: `audit.jsonl` in `data_dir`.")
    syslog: str | None = Field(
        None,
        pattern=r"^(/.+|[^/\s]+:[0-9]{1,5})$",
        description="Syslog server that gets each record, too: path of its socket, such as `/dev/log` (also "
        "journald's), or `HOST:PORT` for UDP.",
    )


class StoreSettings(Section):
    """Where the service keeps its own records."""

    url: str | None = Field(
        None,
        description=(
            "SQLAlchemy URL, such as `postgresql+psycopg://hpcwaas@db.example.org/hpcwaas`. "
            "Default: an SQLite file in `data_dir`."
        ),
    )


class FileSettings(Section):
    """Files that users upload."""

    max_size: Size = Field(2 * 2**30, description="Largest upload, in bytes or with a unit.")
