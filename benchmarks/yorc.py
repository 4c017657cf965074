"""The service before a simulated Yorc: list, trigger, status and followers, with what each costs upstream.

python benchmarks/yorc.py [list|trigger|status|one|many ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.tools.orchestrated import Goals, Orchestrator, main
from tests.simulators.yorc import SimulatorProcess

YORC = Orchestrator(
    simulator=SimulatorProcess,
    settings_of=lambda address: {
        "yorc": {"address": address, "publish": [{"deployments": ["App*"], "workflows": ["exec_*"]}]}
    },
    things="deployments",
    workflow=lambda number: f"App{number:04}@exec_job",
    cold_calls=lambda count: 1 + count,
    goals=Goals(in_a_row=3, list_warm=1000, trigger_calls=2, followed_calls=1, delay_p50=0.3, delay_p95=0.8),
    listing=r"/deployments(/[^/]+/workflows)?",
)

if __name__ == "__main__":
    main(YORC, __doc__)
