"""The settings that use cases obey."""

from __future__ import annotations

from pydantic import Field

from hpcwaas.common.setting_types import Section, Size


class LimitsPerUser(Section):
    """What one user may have or do. Beyond it the answer is 429."""

    executions: int | None = Field(100, gt=0, description="Executions that haven't ended.")
    stored: Size | None = Field(
        100 * 2**30,
        description=(
            "Uploaded files together with what is kept of executions (inputs, outputs, logs), in bytes or with a unit. "
            "Above it a user can't start executions either."
        ),
    )
    inputs: Size = Field(
        256 * 2**10,
        description="Inputs of one execution, as JSON. Larger inputs are refused (413): upload them as files.",
    )
    requests: int | None = Field(6000, gt=0, description="Requests per minute, to all worker processes together.")


class RetentionSettings(Section):
    """For how many days things are kept; without a number for as long as nobody deletes them.

    Workflows may have shorter times of their own (`retention` of their metadata).
    """

    executions: int | None = Field(
        None, gt=0, description="Days after its end after which an execution is deleted, with all its files."
    )
    outputs: int | None = Field(
        None, gt=0, description="Days after its end after which the outputs of an execution are removed."
    )
    logs: int | None = Field(
        None, gt=0, description="Days after its end after which the log of an execution is removed."
    )
    uploads: int | None = Field(None, gt=0, description="Days after which an uploaded file is deleted.")
    audit: int | None = Field(
        None,
        gt=0,
        description=(
            "Days after which records of the audit are removed. With a number the service begins a new file each day "
            "and removes the old ones, also those that logrotate has made: leave `audit.file` out of that then."
        ),
    )
