"""Print what the project needs on a cluster, one requirement a line, out of pyproject.toml.

A layer of the image is built from it, so that a change of code does not install everything again.
"""

import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    print("\n".join([*project["dependencies"], *project["optional-dependencies"]["search"]]))
