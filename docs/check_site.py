"""
Look at the built site: `nox -s docs` checks its links, `nox -s browser` looks at every page in a real browser.

    python docs/check_site.py docs/_build/html              every link inside the site, with its anchor
    python docs/check_site.py docs/_build/html --browser    on a phone and a desktop, light and dark: axe, nothing wider than the
                                                            screen, and the keyboard; `--shots FOLDER` keeps pictures
"""

from __future__ import annotations

import argparse
import functools
import http.server
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
SKIPPED = 77  # the exit status where there is no browser
#: Pages on which Tab is pressed until every link was reached.
KEYBOARD = {"index.html", "tutorial.html", "concepts/escalation.html", "reference/names.html"}
#: Pages that Sphinx makes by itself.
MADE = {"404.html", "genindex.html", "py-modindex.html", "search.html"}


class Page(HTMLParser):
    """The anchors and the links of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the base class's
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        self.links += [value for name in ("href", "src") if (value := given.get(name))]


def broken_links(site: Path) -> Iterator[str]:
    """Each link inside the site that leads nowhere, with its page."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            if not target.exists():
                yield f"{path.relative_to(site)}: {link}: there is no such file"
            elif parts.fragment and known is not None and unquote(parts.fragment) not in known.anchors:
                yield f"{path.relative_to(site)}: {link}: there is no such anchor"


# --- in a browser ----------------------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def look_at(site: Path, browser: Any, given: argparse.Namespace) -> Iterator[str]:
    """What is wrong with the pages, as a person with a phone, a desktop or a keyboard would find."""
    from axe_playwright_python.sync_playwright import Axe  # installed for this check only

    axe = Axe()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pages = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html")) if path.name not in MADE]
    pages = [each for each in pages if each.startswith(given.only)]
    for size, scheme in [(PHONE, "light"), (PHONE, "dark"), (DESKTOP, "light"), (DESKTOP, "dark")]:
        name = f"{size['width']}-{scheme}"
        context = browser.new_context(viewport=size, color_scheme=scheme)
        page = context.new_page()
        for each in pages:
            page.goto(f"http://127.0.0.1:{server.server_address[1]}/{each}")
            if given.shots is not None:
                shot = f"{each.replace('/', '-').removesuffix('.html')}-{name}.png"
                page.screenshot(path=given.shots / shot, full_page=True)
            for found in axe.run(page).response["violations"]:
                where = "; ".join(node["html"][:110] for node in found["nodes"][:3])
                yield f"{each} ({name}): {found['id']}, {found['help']}: {where}"
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if wide > 0:
                yield f"{each} ({name}): {wide} pixels wider than the screen"
            if each in KEYBOARD and size is DESKTOP and scheme == "light":
                yield from (f"{each} (keyboard): {problem}" for problem in walk(page))
        context.close()
    server.shutdown()


def walk(page: Any) -> Iterator[str]:
    """Press Tab through a page: what has the focus must be visible as such, and the links of the text must be reached."""
    reached: set[str] = set()
    invisible: set[str] = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        told = page.evaluate(
            """() => {
              const each = document.activeElement;
              if (!each || each === document.body) return null;
              const style = getComputedStyle(each);
              const shown = style.outlineStyle !== "none" || getComputedStyle(each, "::after").outlineStyle !== "none" || style.boxShadow !== "none" || each.matches("input, .visually-hidden");
              return [each.tagName + " " + (each.getAttribute("href") || each.className), shown];
            }"""
        )
        if told is None or (told[0] in reached and len(reached) > 5 and told[0].startswith("A #furo")):
            break
        reached.add(told[0])
        if not told[1]:
            invisible.add(told[0])
    wanted = page.evaluate(
        "[...document.querySelectorAll('article a.reference.internal')].map(a => 'A ' + a.getAttribute('href'))"
    )
    missed = [each for each in wanted if each not in reached]
    if invisible:
        yield f"the focus is not shown on {sorted(invisible)[:3]}"
    if missed:
        yield f"not reached with Tab: {missed[:3]}"


class Missing(Exception):
    """What the check needs and is not installed."""


def in_browser(site: Path, given: argparse.Namespace) -> Iterator[str]:
    """
    All that is wrong.

    Raises:
        Missing: There is no browser.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise Missing(str(error)) from None
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=given.executable)
        except Error as error:
            raise Missing(f"no browser can be started: {str(error).strip().splitlines()[0]}") from None
        yield from look_at(site, browser, given)
        browser.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--browser", action="store_true", help="look at the pages in Chromium")
    parser.add_argument("--executable", help="the Chromium to use; default: the one of playwright")
    parser.add_argument("--only", default="", help="only the pages whose path begins with this")
    parser.add_argument("--shots", type=Path, help="a folder for screenshots")
    given = parser.parse_args()
    count = 0
    try:
        found = in_browser(given.site, given) if given.browser else broken_links(given.site.resolve())
        for count, problem in enumerate(found, 1):  # noqa: B007 - counted for the last line
            print(problem, flush=True)
    except Missing as error:
        print("skipped:", error)
        return SKIPPED
    print(f"{count} problems")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
