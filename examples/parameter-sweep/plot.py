"""Plots epidemics: `plot.py CURVES...` prints an SVG of the infected over time."""

from __future__ import annotations

import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 84, 700, 56, 410  # edges of the plot area, in pixels
RAMP = [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (230, 190, 30)]  # dark to light: low to high rates


@dataclass(frozen=True)
class Curve:
    """The infected of each day at one transmission rate."""

    rate: float
    days: list[int]
    infected: list[float]


def read(path: Path) -> Curve:
    """Reads what `simulate.py` printed."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return Curve(
        rate=float(rows[0]["transmission_rate"]),
        days=[int(row["day"]) for row in rows],
        infected=[float(row["infected"]) for row in rows],
    )


def ticks(largest: float) -> list[float]:
    """Round numbers from 0 to the first that isn't below `largest`; at most eleven."""
    rough = max(largest, 1e-9) / 9
    power = 10.0 ** math.floor(math.log10(rough))
    distance = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return [number * distance for number in range(math.ceil(largest / distance - 1e-9) + 1)]


def colour(position: float) -> str:
    """A colour of the ramp; `position` from 0 to 1."""
    place = position * (len(RAMP) - 1)
    index = min(int(place), len(RAMP) - 2)
    part = place - index
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(RAMP[index], RAMP[index + 1]))


def axes(days: list[float], people: list[float]) -> list[str]:
    """Grid, ticks and titles. The last tick of each axis is its end."""
    parts = []
    for day in days:
        x = LEFT + (RIGHT - LEFT) * day / days[-1]
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 20}" text-anchor="middle">{day:g}</text>')
    for number in people:
        y = BOTTOM - (BOTTOM - TOP) * number / people[-1]
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{number:,.10g}</text>')
    middle = (TOP + BOTTOM) / 2
    return [
        *parts,
        f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="32">Infected people for each transmission rate</text>',
        f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 48}" text-anchor="middle">Day</text>',
        f'<text transform="translate(22 {middle}) rotate(-90)" text-anchor="middle">Infected people</text>',
    ]


def lines(curves: list[Curve], last_day: float, most: float) -> list[str]:
    """A line, a dot on its peak, and an entry of the legend for each curve."""
    parts = [f'<text x="{RIGHT + 30}" y="{TOP + 4}">Rate per day</text>']
    for index, curve in enumerate(curves):
        stroke = colour(index / max(len(curves) - 1, 1))
        points = [
            (LEFT + (RIGHT - LEFT) * day / last_day, BOTTOM - (BOTTOM - TOP) * infected / most)
            for day, infected in zip(curve.days, curve.infected)
        ]
        x, y = min(points, key=lambda point: point[1])
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
        parts.append(f'<polyline points="{path}" stroke="{stroke}"><title>rate {curve.rate:g}</title></polyline>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{stroke}"/>')
        row = TOP + 26 + 22 * index
        parts.append(f'<path d="M{RIGHT + 30} {row}h26" stroke="{stroke}" stroke-width="3"/>')
        parts.append(f'<text x="{RIGHT + 66}" y="{row + 4}">{curve.rate:g}</text>')
    return parts


def main() -> None:
    """The legend is in the order of the rates, and grows the picture when there are many."""
    curves = sorted((read(Path(argument)) for argument in sys.argv[1:]), key=lambda curve: curve.rate)
    if not curves:
        sys.exit("there is nothing to plot; expected one transmission rate or more")
    days = ticks(max(curve.days[-1] for curve in curves))
    people = ticks(max(max(curve.infected) for curve in curves))
    height = max(HEIGHT, TOP + 60 + 22 * len(curves))
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#333">',
        "<style>.grid{stroke:#e3e3e3} .axis{stroke:#333;fill:none} .title{font-size:17px;font-weight:bold}",
        "polyline{fill:none;stroke-width:2.2;stroke-linejoin:round}</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        *axes(days, people),
        *lines(curves, days[-1], people[-1]),
        "</svg>",
        sep="\n",
    )
    print(f"{len(curves)} curves plotted", file=sys.stderr)


if __name__ == "__main__":
    main()
