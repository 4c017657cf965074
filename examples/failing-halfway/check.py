"""Checks records: `check.py RECORDS` prints them unchanged, or ends with 1 and says which lines are wrong and why."""

from __future__ import annotations

import csv
import sys
from datetime import date
from pathlib import Path

COLUMNS = ["station", "day", "temperature"]
COLDEST, HOTTEST = -90.0, 60.0  # °C; a little beyond what was ever measured on Earth


def problem(record: list[str]) -> str | None:
    """What is wrong with a record; None when it may be right."""
    if len(record) != len(COLUMNS):
        return f"{len(record)} fields, expected {len(COLUMNS)}: {', '.join(COLUMNS)}"
    _, day, temperature = record
    try:
        date.fromisoformat(day)
    except ValueError:
        return f"day is {day!r}, expected a date such as 2026-11-23"
    try:
        value = float(temperature)
    except ValueError:
        return f"temperature is {temperature!r}, expected a number"
    if not COLDEST <= value <= HOTTEST:
        return f"temperature is {temperature}, expected °C between {COLDEST:g} and {HOTTEST:g}"
    return None


def main() -> None:
    """Looks at all records before it fails, so that they can be mended at once."""
    content = Path(sys.argv[1]).read_text(encoding="utf-8")
    header, *records = csv.reader(content.splitlines())
    if header != COLUMNS:
        sys.exit(f"line 1: the columns are {', '.join(header)}; expected {', '.join(COLUMNS)}")
    problems = [f"line {line}: {found}" for line, row in enumerate(records, 2) if (found := problem(row))]
    if problems:
        sys.exit("\n".join([*problems, f"{len(problems)} of {len(records)} records are wrong"]))
    sys.stdout.write(content)


if __name__ == "__main__":
    main()
