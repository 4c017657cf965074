"""Normalises records: `normalise.py RECORDS` prints them with commas and without blanks, line for line."""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def main() -> None:
    """Keeps the lines where they are: later steps name them by their numbers."""
    with Path(sys.argv[1]).open(encoding="utf-8-sig", newline="") as stream:
        delimiter = ";" if ";" in stream.readline() else ","
        stream.seek(0)
        rows = [[field.strip() for field in row] for row in csv.reader(stream, delimiter=delimiter)]
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    print(f"{len(rows) - 1} records", file=sys.stderr)


if __name__ == "__main__":
    main()
