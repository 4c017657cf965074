"""Files that come along with the service: the contract and the examples."""

from __future__ import annotations

from pathlib import Path


def resource(name: str) -> Path:
    """The path of `openapi.yaml` or `examples`.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    package = Path(__file__).resolve().parents[1]
    # A wheel holds them inside the package; an editable installation leaves them at the top of the tree.
    for place in (package, package.parent):
        if (path := place / name).exists():
            return path
    raise FileNotFoundError(f"{name} is missing from the installation in {package}")
