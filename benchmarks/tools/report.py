"""What a benchmark tells."""

from __future__ import annotations


class Report:
    """Prints figures, and keeps count of missed goals."""

    def __init__(self) -> None:
        self.goals: list[tuple[str, str, str, bool]] = []

    def line(self, case: str, **figures: float) -> None:
        """Prints the figures of one case."""
        print(f"{case:<44}", "  ".join(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)

    def goal(self, case: str, goal: str, figure: str, met: bool) -> None:
        """Notes whether a goal is met."""
        self.goals.append((case, goal, figure, met))

    def table(self) -> bool:
        """Prints all goals. Returns whether all are met."""
        print()
        for case, goal, figure, met in self.goals:
            print(f"{'met   ' if met else 'MISSED'}  {case}: {figure} (goal: {goal})")
        return all(goal[3] for goal in self.goals)
