"""Says how late ticks were: `assess.py TICKS` prints the mean and the worst delay as JSON."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path


def main() -> None:
    """A tick's delay is the time that it came at, less its number."""
    with Path(sys.argv[1]).open(encoding="utf-8", newline="") as stream:
        delays = [float(row["elapsed"]) - int(row["count"]) for row in csv.DictReader(stream)]
    mean, worst = sum(delays) / len(delays), max(delays)
    print(f"{len(delays)} ticks: {mean * 1000:.1f} ms late on average, {worst * 1000:.1f} ms at worst", file=sys.stderr)
    json.dump({"mean_delay": round(mean, 6), "worst_delay": round(worst, 6)}, sys.stdout)


if __name__ == "__main__":
    main()
