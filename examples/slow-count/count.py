"""Counts seconds: `count.py SECONDS` prints a CSV of ticks and tells its progress on standard error."""

from __future__ import annotations

import sys
import time

BAR = 30


def main() -> None:
    """Ticks against the start and not against the last tick, so that delays don't add up."""
    seconds = int(sys.argv[1])
    if seconds < 1:
        sys.exit(f"seconds is {seconds}; expected 1 or more")
    start = time.monotonic()
    print("count,elapsed")
    for count in range(1, seconds + 1):
        time.sleep(max(0.0, start + count - time.monotonic()))
        print(f"{count},{time.monotonic() - start:.6f}")
        done = "#" * (BAR * count // seconds)
        print(f"[{done:<{BAR}}] {count} of {seconds}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
