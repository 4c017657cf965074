"""Compares epidemics: `tabulate.py CURVES...` leaves `sweep.csv` and copies the curves into `curves/`."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path


def main() -> None:
    """Prints a line for the log and writes one into the table for each epidemic."""
    folder = Path("curves")
    folder.mkdir()
    with Path("sweep.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["transmission_rate", "reproduction_number", "peak_day", "peak_infected", "ever_infected"])
        for curve in map(Path, sys.argv[1:]):
            shutil.copy(curve, folder)
            with curve.open(encoding="utf-8", newline="") as lines:
                days = list(csv.DictReader(lines))
            rate = float(days[0]["transmission_rate"])
            peak = max(days, key=lambda row: float(row["infected"]))
            ever = float(days[-1]["infected"]) + float(days[-1]["recovered"])
            reproduction = rate / float(days[0]["recovery_rate"])
            table.writerow([rate, f"{reproduction:.2f}", peak["day"], f"{float(peak['infected']):.0f}", f"{ever:.0f}"])
            print(f"rate {rate}: peak on day {peak['day']}", file=sys.stderr)


if __name__ == "__main__":
    main()
