"""The live page in a real Chromium, on a desktop and on a phone, while the demo's primary is overloaded and returns.

In:      `$SIDECAR_PICTURES`: a folder for the PNGs of docs/images; without it they are only taken.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.process import running
from tests.daemon.sidecar import service
from tests.daemon.test_shown import at_its_limit, some_left_alone
from tests.itest.chromium import Browser, Page, browser, chromium
from tests.itest.peers import require
from tests.itest.stage import config

pytestmark = pytest.mark.itest

DESKTOP = {"width": 1280, "height": 980}
PHONE = {"width": 390, "height": 844, "phone": True}
CALM, SURGE, RECOVERY, AFTER = 12, 6, 14, 60  # seconds of the demo; nothing is asked of it after them
ENOUGH = 4.5  # contrast of text by WCAG 2.2, level AA

STATE = "document.querySelector('#services .pill')?.dataset.state"
SEEN = "document.querySelector('#services .pill')?.textContent ?? ''"
DRAWN = """(() => {
  const count = (chart, part) => document.querySelectorAll(`#${chart} ${part}`).length;
  return {medians: count("latency", ".median"), dots: count("latency", ".high"), timeouts: count("latency", ".timeout"),
          areas: count("share", ".area"), ejected: count("share", ".flag.bad"), returned: count("share", ".flag.good")};
})()"""
FOCUSED = "document.activeElement.id || document.activeElement.textContent"
# Every text on the page against the nearest background behind it.
PALE = """(() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, part, at) => sum + part * channel(colour[at]), 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || node.closest("script, noscript, .unseen")) continue;
    const style = getComputedStyle(node);
    const [one, other] = [light(numbers(node.closest("svg") ? style.fill : style.color)), light(behind(node))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < LEAST) found.push(`${texts.currentNode.data.trim()}: ${contrast.toFixed(2)}`);
  }
  return found;
})()""".replace("LEAST", str(ENOUGH))


@contextmanager
def demo() -> Iterator[str]:
    """`sidecar demo` with one surge; the address of its page."""
    times = ("--calm", f"{CALM}s", "--surge-for", f"{SURGE}s", "--recovery", f"{RECOVERY + AFTER}s")
    command = [sys.executable, "-m", "sidecar", "demo", *times]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            told = ""
            for line in process.stdout:
                told += line
                if line.startswith("# The live page"):
                    yield line.split("browser: ")[1].split()[0]
                    break
            else:
                raise AssertionError(f"the demo did not start: {told}")
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def page_address() -> Iterator[str]:
    require(chromium)
    with demo() as address:
        yield address


@pytest.fixture(scope="module")
def chrome(page_address: str) -> Iterator[Browser]:
    with browser(chromium()) as found:
        yield found


@pytest.fixture
def desktop(chrome: Browser, page_address: str) -> Page:
    return opened(chrome, page_address, dark=False, **DESKTOP)


@pytest.fixture
def phone(chrome: Browser, page_address: str) -> Page:
    return opened(chrome, page_address, dark=True, **PHONE)


def opened(chrome: Browser, address: str, *, dark: bool, **size: int) -> Page:
    page = chrome.tab()
    page.open(address, width=size["width"], height=size["height"], dark=dark, phone=bool(size.get("phone")))
    page.wait_for("the page shows services", STATE)
    page.wait_for("the page shows the policy", "document.querySelector('#policy .settings') !== null")
    return page


def keep(page: Page, name: str) -> None:
    png = page.picture()
    assert png.startswith(b"\x89PNG")
    if (folder := os.environ.get("SIDECAR_PICTURES")) is not None:
        (Path(folder) / name).write_bytes(png)


def test_a_surge_is_seen_from_rotation_to_ejection_and_back(desktop: Page, phone: Page) -> None:
    """One glance: what is out, why, who answers instead. The browser has nothing to complain of, asks nobody but
    the sidecar, and only reads."""
    assert desktop.evaluate(STATE) == "available"
    assert desktop.evaluate(SEEN) == "in rotation"
    assert "generation 1" in desktop.evaluate("document.getElementById('facts').textContent")

    desktop.wait_for("the primary is ejected", f"{STATE} === 'ejected'")
    assert desktop.evaluate(SEEN).startswith("ejected, ")
    assert "self-hosted out of rotation: ejected, too many failures" in desktop.evaluate(
        "document.getElementById('headline').textContent"
    )
    desktop.wait_for(
        "the fallback's share is shown",
        "document.getElementById('headline').textContent.endsWith('vendor answers')",
    )
    desktop.wait_for("the ejection is marked", f"{DRAWN}.ejected > 0")
    desktop.wait_for("the fallback's answers are drawn", f"{DRAWN}.areas === 2 && {DRAWN}.medians === 2")
    keep(phone, "page-phone.png")
    desktop.wait_for(
        "the fallback answers nearly all",
        "parseInt(document.querySelector('#legend li:last-child').textContent.match(/\\d+/)) > 80",
    )
    keep(desktop, "page-surge.png")

    desktop.wait_for("the primary returns", f"{STATE} === 'ramp' || {STATE} === 'available'")
    desktop.wait_for("its return is marked", f"{DRAWN}.returned > 0")
    drawn = desktop.evaluate(DRAWN)
    assert drawn["dots"] > 10
    assert drawn["timeouts"] == 1, "that of 200 ms; 30 s would flatten everything else"
    events = desktop.evaluate("document.getElementById('events').textContent")
    for told in ("endpoint ejected", "endpoint probation", "endpoint returned", "passed its probation"):
        assert told in events

    for page in (desktop, phone):
        assert page.complaints == []
        address = page.evaluate("location.origin")
        assert {url.removeprefix(address).split("?")[0] for _, url in page.requests} >= {
            "/api/state",
            "/api/policy",
        }
        assert [url for _, url in page.requests if not url.startswith(f"{address}/")] == []
        assert {method for method, _ in page.requests} == {"GET"}


def shown(page: Page, of: str) -> str:
    """The text of a part of the page, or of a service's card."""
    where = f"#{of}" if of == "headline" else f"[aria-label='service {of}']"
    return " ".join(str(page.evaluate(f'document.querySelector("{where}").innerText')).split())


def test_a_service_at_its_limit_is_neither_out_nor_free(chrome: Browser, tmp_path: Path) -> None:
    with at_its_limit(tmp_path) as process:
        page = opened(chrome, f"http://{process.ops[0]}/", dark=False, **DESKTOP)
        page.wait_for("the limit is shown", f"{SEEN} === 'at its limit'")
        assert shown(page, "headline") == "busy at its limit: what is over it goes to the next service"
        assert shown(page, "busy").endswith("at its limit 16 in flight of at most 16")
        assert "in rotation" in shown(page, "spare")
        keep(page, "page-limit.png")


def test_every_rule_of_a_policy_is_told_in_words(chrome: Browser, tmp_path: Path) -> None:
    """Whoever looks at the page must not have to look for the file."""
    everything = {
        "timeouts": {
            "first_packet": "200ms",
            "first_packet_per_1k_tokens": "50ms",
            "first_packet_soft": "100ms",
        },
        "first_packet_is": "event",
        "endpoints": ["127.0.0.1:9", "127.0.0.1:10"],
        "weights": {"127.0.0.1:9": 3},
        "load_balancing": "consistent_hash",
        "hash_on": {"header": "x-session"},
        "max_concurrency": 5,
        "queue": {"max_requests": 7, "timeout": "2s"},
        "rate_limit": [{"requests": 10, "per": "1m", "by": ["model"]}],
        "dialect": "anthropic",
    }
    rule = {
        "hedge": {"after": "100ms", "budget": 10},
        "commit": "complete",
        "cut_last": True,
        "wait_for_retry_after": "2s",
        "rate_limit": [{"tokens": 5000, "per": "1h", "by": ["api_key"]}],
    }
    written = config(
        tmp_path, service("a", "http://127.0.0.1:9/v1", **everything), service("b", "http://b/v1"), route=rule
    )
    with running(written, tmp_path) as process:
        page = opened(chrome, f"http://{process.ops[0]}/", dark=False, **DESKTOP)
        told = " ".join(str(page.evaluate("document.getElementById('policy').innerText")).split())
        assert page.complaints == []
    for words in (
        "within 200 ms, 50 ms more for each 1000 tokens, late after 100 ms, that is: event",
        "consistent hash, on x-session, weights 127.0.0.1:9 3",
        "5 in flight, 10 requests in 60 s for each model",
        "7 requests for up to 2 s",
        "anthropic",
        "a second attempt beside a first that is 100 ms old, for 10 % of the requests",
        "holds answers back until they are whole",
        "cuts the last service for lateness, too",
        "waits up to 2 s where a 429 asks for it",
        "limited to 5000 tokens in 60 min for each api key",
    ):
        assert words in told


def test_what_is_left_alone_is_shown_with_its_service(chrome: Browser, tmp_path: Path) -> None:
    with some_left_alone(tmp_path) as process:
        page = opened(chrome, f"http://{process.ops[0]}/", dark=True, **PHONE)
        page.wait_for("it is told", "document.getElementById('headline').textContent.includes('left alone')")
        assert "limited: credential env SHOWN_KEY is left alone, its rate limit is reached" in shown(
            page, "headline"
        )
        card = shown(page, "gone")
        assert "model m left alone, " in card
        assert card.endswith("not there")
        keep(page, "page-left-alone.png")


def test_what_the_page_may_not_do_is_told_by_the_browser(desktop: Page) -> None:
    """Or an empty list of complaints would prove nothing: inline code and foreign pictures are refused."""
    desktop.evaluate(
        "void (document.head.append(Object.assign(document.createElement('script'), {text: 'x = 1'})))"
    )
    desktop.evaluate(
        "void (document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.2:9/x.png'})))"
    )
    desktop.wait_for("the page goes on", STATE)
    told = " ".join(desktop.complaints)
    assert desktop.evaluate("typeof x") == "undefined"
    assert told.count("Content Security Policy") >= 2


def test_the_policy_in_force_is_shown_with_its_generation(desktop: Page) -> None:
    """Routes in their order, timeouts, and of a credential only where it comes from."""
    shown = desktop.evaluate("document.getElementById('policy').innerText")
    assert "self-hosted\nthen\nvendor" in shown.replace("\n\n", "\n")
    assert "within 200 ms" in shown
    assert "50 % failed of 5 or more in 10 s, or 5 failures in a row" in shown
    assert desktop.evaluate("document.getElementById('generation').textContent") == "generation 1"


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_never_scrolls_sideways(chrome: Browser, page_address: str, width: int) -> None:
    """Not with the narrowest that is still sold."""
    page = opened(chrome, page_address, dark=True, width=width, height=700, phone=1)
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read_in_both_schemes(chrome: Browser, page_address: str, dark: bool) -> None:
    """By the contrast of each text to what lies behind it."""
    page = opened(chrome, page_address, dark=dark, **DESKTOP)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(14, 17, 22)") is dark
    assert page.evaluate(PALE) == []


def test_the_keyboard_goes_from_top_to_bottom_and_reads_the_charts(desktop: Page) -> None:
    """Nothing is a trap, and what a pointer can read the arrows can."""
    order = []
    for _ in range(6):
        desktop.press("Tab")
        order.append(desktop.evaluate(FOCUSED))
    assert order == ["latency", "share", "events", "state", "policy", "metrics"]
    desktop.evaluate("document.getElementById('share').focus()")
    desktop.press("ArrowLeft")
    assert desktop.evaluate("document.getElementById('share-at').textContent").startswith("now: ")
    desktop.press("ArrowLeft")
    assert desktop.evaluate("document.getElementById('latency-at').textContent").startswith("1 s ago: ")
    desktop.press("Escape")
    assert desktop.evaluate("document.getElementById('share-at').textContent") == ""


def test_a_screen_reader_finds_landmarks_names_and_news(desktop: Page) -> None:
    """Every picture has words, every region a name, and what changes is announced."""
    told = desktop.accessible()
    roles = {role for role, _ in told}
    assert {"banner", "main", "contentinfo", "status", "article", "list", "time"} <= roles
    named = {(role, name) for role, name in told}
    assert {
        ("region", "Services"),
        ("region", "Events"),
        ("heading", "LLM sidecar"),
        ("list", "Routes, in order"),
    } <= named
    assert ("article", "service self-hosted") in named
    pictures = [name for role, name in told if role in ("image", "img", "graphics-document")]
    assert len(pictures) == 3
    assert any("latest medians: self-hosted" in name for name in pictures)
    assert all(pictures), "a picture without words"
