"""Counts the words of a text file: `count.py TEXT` prints `{"file": name, "words": {word: number}}`."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")


def main() -> None:
    """Counts line by line, so that the size of a text doesn't matter."""
    text = Path(sys.argv[1])
    words: Counter[str] = Counter()
    try:
        with text.open(encoding="utf-8-sig") as lines:
            for line in lines:
                words.update(WORD.findall(line.casefold()))
    except UnicodeDecodeError as error:
        sys.exit(f"{text.name} isn't a text in UTF-8: {error.reason}")
    print(f"{text.name}: {sum(words.values())} words, {len(words)} distinct", file=sys.stderr)
    json.dump({"file": text.name, "words": dict(words.most_common())}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
