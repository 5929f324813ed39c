"""The live page by Playwright, during a surge of the demo: in both schemes, wide and narrow.

What is drawn, read and announced is looked at closely in test_page.py, over the browser's own debugging pipe.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.itest.chromium import chromium
from tests.itest.peers import require
from tests.itest.peers.axe import axe
from tests.itest.peers.playwright import playwright
from tests.itest.test_page import demo

pytestmark = pytest.mark.itest


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    browser, library, rules = require(chromium), require(playwright), require(axe)
    script = Path(__file__).with_name("by_playwright.py")
    with demo() as address:
        done = subprocess.run(
            [sys.executable, str(script), str(browser), str(rules), address],
            env={**os.environ, "PYTHONPATH": str(library)},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    looked: dict[str, Any] = json.loads(done.stdout)
    return looked


def test_the_primary_is_seen_to_leave_and_to_return(found: dict[str, Any]) -> None:
    assert found["states"] == ["available", "ejected", "available"]


def test_in_every_look_the_browser_has_nothing_to_complain_of(found: dict[str, Any]) -> None:
    """No inline code, no foreign asset, no call that changes anything."""
    assert len(found["looks"]) == 4
    for name, look in found["looks"].items():
        assert look["status"] == 200, name
        assert "default-src 'none'" in look["policy"], name
        assert look["said"] == [], name
        assert {method for method, _ in look["asked"]} == {"GET"}, name
        assert len({url.split("/")[2] for _, url in look["asked"]}) == 1, name


def test_each_scheme_has_its_own_colours_and_no_width_scrolls_sideways(found: dict[str, Any]) -> None:
    looks = found["looks"]
    for width in ("desktop", "phone"):
        assert looks[f"{width}, light"]["background"] != looks[f"{width}, dark"]["background"]
    assert not any(look["scrolls_sideways"] for look in looks.values())


def test_keyboard_and_screen_reader_find_their_way(found: dict[str, Any]) -> None:
    for name, look in found["looks"].items():
        assert look["focused"], name
        assert look["headings"] >= 3, name
        assert look["landmarks"] >= 1, name


def test_axe_finds_no_barrier_in_any_look(found: dict[str, Any]) -> None:
    """Roles, names, contrast, order of headings: the rules that a machine can judge."""
    for name, look in found["looks"].items():
        assert look["axe"]["violations"] == [], name
        assert len(look["axe"]["passes"]) > 30, name
