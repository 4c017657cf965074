"""Merges counts of words: `merge.py TOP COUNTS...` leaves `words.csv` and `cwl.output.json`."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from pathlib import Path


def main() -> None:
    """Sums up; words of the same frequency stand in alphabetical order."""
    top = int(sys.argv[1])
    if top < 0:
        sys.exit(f"top is {top}; expected 0 or more")
    files = [json.loads(Path(argument).read_text(encoding="utf-8")) for argument in sys.argv[2:]]
    total: Counter[str] = Counter()
    for file in files:
        total.update(file["words"])
    ranking = sorted(total, key=lambda word: (-total[word], word))

    with Path("words.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["word", "total", *(file["file"] for file in files)])
        table.writerows([word, total[word], *(file["words"].get(word, 0) for file in files)] for word in ranking)

    outputs = {
        "table": {"class": "File", "path": "words.csv"},
        "total": sum(total.values()),
        "distinct": len(total),
        "frequent": ranking[:top],
    }
    Path("cwl.output.json").write_text(json.dumps(outputs), encoding="utf-8")
    print(f"{len(files)} files: {outputs['total']} words, {outputs['distinct']} distinct", file=sys.stderr)


if __name__ == "__main__":
    main()
