"""The service before a simulated Alien4Cloud: list, trigger, status and followers, with what each costs upstream.

python benchmarks/alien4cloud.py [list|trigger|status|one|many ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.tools.orchestrated import Goals, Orchestrator, main
from tests.simulators.alien4cloud import SimulatorProcess

ALIEN4CLOUD = Orchestrator(
    simulator=SimulatorProcess,
    settings_of=lambda address: {"alien_config": {"address": address}},
    things="applications",
    workflow=lambda number: f"App{number:04}@env-{number:04}@exec_job",
    cold_calls=lambda _count: 2,  # applications, environments
    goals=Goals(in_a_row=3, list_warm=500, trigger_calls=3, followed_calls=2, delay_p50=0.6, delay_p95=1.2),
    more=("--lag", "0"),
)

if __name__ == "__main__":
    main(ALIEN4CLOUD, __doc__)
