"""Looks at the live page with Playwright, as a program of its own; see test_page_playwright.py.

In:      the path of Chromium, that of axe's script, the page's address.
Out:     one JSON object on stdout: what each look has found.
"""

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

LOOKS: dict[str, dict[str, Any]] = {
    "desktop, light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 980}},
    "desktop, dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 980}},
    "phone, light": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "has_touch": True},
    "phone, dark": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}, "has_touch": True},
}


def look(browser: Browser, axe: str, address: str, how: dict[str, Any]) -> dict[str, Any]:
    context = browser.new_context(**how)
    page = context.new_page()
    said: list[str] = []
    asked: list[list[str]] = []
    page.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append([request.method, request.url]))
    answer = page.goto(address)
    assert answer is not None
    pill = page.locator("#services .pill").first
    pill.wait_for()
    page.locator("#policy .settings").first.wait_for()
    for _ in range(3):
        page.keyboard.press("Tab")
    found = {
        "status": answer.status,
        "policy": answer.headers.get("content-security-policy", ""),
        "state": pill.get_attribute("data-state"),
        "background": page.evaluate("getComputedStyle(document.body).backgroundColor"),
        "scrolls_sideways": page.evaluate("document.documentElement.scrollWidth > innerWidth"),
        "focused": page.evaluate("document.activeElement !== document.body"),
        "headings": page.get_by_role("heading").count(),
        "landmarks": page.get_by_role("main").count() + page.get_by_role("banner").count(),
        "said": said,
        "asked": asked,
        "picture": len(page.screenshot()),
    }
    page.evaluate(axe)
    judged = page.evaluate("axe.run(document)")
    found["axe"] = {kind: [rule["id"] for rule in judged[kind]] for kind in ("passes", "violations")}
    context.close()
    return found


def surge(browser: Browser, address: str) -> list[str]:
    """The states that the primary is seen in, until it is back."""
    page = browser.new_page()
    page.goto(address)
    seen: list[str] = []
    for state, count in (("available", 2), ("ejected", 1), ("available", 2)):  # of the two services
        pills = page.locator(f'#services .pill[data-state="{state}"]')
        pills.nth(count - 1).wait_for(timeout=60_000)
        seen.append(state)
    return seen


def main() -> None:
    chromium, script, address = sys.argv[1:]
    axe = Path(script).read_text(encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        looks = {name: look(browser, axe, address, how) for name, how in LOOKS.items()}
        print(json.dumps({"looks": looks, "states": surge(browser, address)}))
        browser.close()


if __name__ == "__main__":
    main()
