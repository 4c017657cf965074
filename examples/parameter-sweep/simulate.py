"""Simulates an epidemic: `simulate.py TRANSMISSION_RATE RECOVERY_RATE POPULATION INFECTED DAYS` prints a CSV.

The SIR model, with rates per day: dS/dt = -b S I / N, dI/dt = b S I / N - g I, dR/dt = g I.
"""

from __future__ import annotations

import csv
import sys

STEPS_PER_DAY = 20


def check(transmission: float, recovery: float, population: int, infected: int, days: int) -> None:
    """Ends with a message that names every parameter that makes no sense."""
    limit = STEPS_PER_DAY / 4  # beyond it the steps would be too long for the integration
    problems = [
        message
        for wrong, message in [
            (not 0 <= transmission <= limit, f"transmission_rate is {transmission}; expected 0 to {limit}"),
            (not 0 < recovery <= limit, f"recovery_rate is {recovery}; expected above 0, up to {limit}"),
            (population < 1, f"population is {population}; expected 1 or more"),
            (not 0 <= infected <= population, f"infected is {infected}; expected 0 to the population, {population}"),
            (days < 1, f"days is {days}; expected 1 or more"),
        ]
        if wrong
    ]
    if problems:
        sys.exit("\n".join(problems))


def step(susceptible: float, infected: float, transmission: float, recovery: float, h: float) -> tuple[float, float]:
    """One step of the classical Runge-Kutta method; all people together are 1, and `h` is in days."""

    def slope(s: float, i: float) -> tuple[float, float]:
        return -transmission * s * i, transmission * s * i - recovery * i

    s1, i1 = slope(susceptible, infected)
    s2, i2 = slope(susceptible + h / 2 * s1, infected + h / 2 * i1)
    s3, i3 = slope(susceptible + h / 2 * s2, infected + h / 2 * i2)
    s4, i4 = slope(susceptible + h * s3, infected + h * i3)
    return susceptible + h / 6 * (s1 + 2 * s2 + 2 * s3 + s4), infected + h / 6 * (i1 + 2 * i2 + 2 * i3 + i4)


def main() -> None:
    """Repeats the parameters in every row: each file says by itself what it is."""
    transmission, recovery = float(sys.argv[1]), float(sys.argv[2])
    population, first, days = (int(argument) for argument in sys.argv[3:6])
    check(transmission, recovery, population, first, days)
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["transmission_rate", "recovery_rate", "day", "susceptible", "infected", "recovered"])
    susceptible, infected = 1 - first / population, first / population
    for day in range(days + 1):
        people = [population * part for part in (susceptible, infected, 1 - susceptible - infected)]
        table.writerow([transmission, recovery, day, *(f"{max(number, 0):.1f}" for number in people)])
        for _ in range(STEPS_PER_DAY):
            susceptible, infected = step(susceptible, infected, transmission, recovery, 1 / STEPS_PER_DAY)
    print(f"rate {transmission}: {population * (1 - susceptible):.0f} of {population} infected", file=sys.stderr)


if __name__ == "__main__":
    main()
