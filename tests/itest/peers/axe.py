"""axe-core, which looks at a page as people need it who cannot see, hear or point: roles, names, contrast, order.

Out:     its one script, to be run inside a page. MPL-2.0; it is no part of what we hand out.
"""

from pathlib import Path

from tests.itest.peers.install import built, need, run

AXE = "4.14.1"


def axe() -> Path:
    def build(work: Path) -> Path:
        need(work.stem, "npm")
        quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-save")
        run(work, "npm", "install", "--prefix", str(work), *quiet, f"axe-core@{AXE}")
        return work / "node_modules" / "axe-core" / "axe.min.js"

    return built("axe", AXE, build)
