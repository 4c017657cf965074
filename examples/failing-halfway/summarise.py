"""Summarises records: `summarise.py RECORDS` prints the mean temperature of each station as CSV."""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path


def main() -> None:
    """Prints the stations in alphabetical order."""
    stations: defaultdict[str, list[float]] = defaultdict(list)
    with Path(sys.argv[1]).open(encoding="utf-8", newline="") as stream:
        for record in csv.DictReader(stream):
            stations[record["station"]].append(float(record["temperature"]))
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["station", "days", "mean"])
    table.writerows(
        [name, len(values), f"{sum(values) / len(values):.2f}"] for name, values in sorted(stations.items())
    )


if __name__ == "__main__":
    main()
