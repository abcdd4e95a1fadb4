"""Source distributions of others, whose tests are run."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Collection
from pathlib import Path


def fetch(folder: Path, listed: Path, wanted: Collection[str], python: str) -> None:
    """Fetches the source distributions, checks them against their hashes, and unpacks them.

    :param folder: keeps them. What is there already is not fetched again.
    :param listed: a requirements file with their hashes.
    :param wanted: the names of the folders that they unpack to.
    :param python: the interpreter whose pip fetches them.
    """
    if all((folder / name).is_dir() for name in wanted):
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [python, "-m", "pip", "--disable-pip-version-check", "download", "--quiet",
               "--no-deps", "--no-binary", ":all:", "--require-hashes", "--dest", str(folder),
               "-r", str(listed)]  # fmt: skip
    subprocess.run(command, check=True, env={**os.environ, "PIP_REQUIRE_HASHES": ""})
    for name in wanted:
        with tarfile.open(folder / f"{name}.tar.gz") as archive:
            # Python 3.11.2, which is Debian's, has no filters.
            if hasattr(tarfile, "data_filter"):
                archive.extraction_filter = tarfile.data_filter
            archive.extractall(folder)
