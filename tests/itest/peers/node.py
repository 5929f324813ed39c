"""The Node SDKs of OpenAI and Anthropic, and undici, with which they reach a Unix socket.

Out:     a folder with their `node_modules`, the very ones that package-lock.json names by their hashes.
Limits:  the newest versions that Node 20 runs; no script of a package is run.
"""

import shutil
from pathlib import Path

from tests.itest.peers.install import built, need, run

HERE = Path(__file__).parent / "node"
NODE_SDKS = "openai-6.49.0"  # names the folder; the lock says the rest
PINS = ("package.json", "package-lock.json")
ASK = HERE / "ask.mjs"


def node_sdks() -> Path:
    def build(work: Path) -> Path:
        need(work.stem, "node", "npm")
        sdks = work / "sdks"
        sdks.mkdir()
        for pin in PINS:
            shutil.copy(HERE / pin, sdks)
        run(work, "npm", "ci", "--prefix", str(sdks), "--ignore-scripts", "--no-audit", "--no-fund")
        return sdks

    need("node-sdks", "node")  # to run them, too
    recipe = "".join((HERE / pin).read_text() for pin in PINS)
    return built("node-sdks", NODE_SDKS, build, recipe=recipe)
