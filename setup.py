"""Puts the contract and the examples, which stand at the top of the tree, inside the wheel."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildPy(build_py):
    """`build_py` that also copies `openapi.yaml` and `examples/` into the package `hpcwaas`."""

    def run(self) -> None:
        """Builds the modules, then copies."""
        super().run()
        if self.editable_mode:
            return  # `hpcwaas.common.resources` finds them at the top of the tree
        package = Path(self.build_lib, "hpcwaas")
        shutil.copy2(ROOT / "openapi.yaml", package / "openapi.yaml")
        shutil.copytree(
            ROOT / "examples", package / "examples", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )


setup(
    packages=[*find_packages(include=["hpcwaas", "hpcwaas.*"]), "waas_cli", "waas_cli.api", "waas_cli.commands"],
    cmdclass={"build_py": BuildPy},
)
