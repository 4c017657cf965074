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
    requests: int | None = Field(6000, gt=0, description="Requests per minute to one worker process.")
