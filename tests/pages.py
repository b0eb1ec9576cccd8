"""What every page must be: whole, harmless, readable with eyes, ears and keys. Knows nothing of how pages are made."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "img", "br", "link", "input", "wbr", "hr", "col"}
FORBIDDEN = {"script", "iframe", "object", "embed", "form", "base", "link", "video", "audio", "foreignobject"}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class PageCheck(HTMLParser):
    """Reads a page; :attr:`faults` says what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[int, str]] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.language: str | None = None
        self.policy = ""
        self.words: list[str] = []
        self.widths: list[set[int]] = []
        self.choices: list[list[str]] = []
        self.labels: list[str] = []
        self.feed(text)
        self.close()
        self._conclude(text)

    # --- what is met ------------------------------------------------------------------------------

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.faults += [f"<{tag}> is not allowed"] * (tag in FORBIDDEN)
        self.faults += [f"<{tag}> has the handler {name}" for name in given if name.startswith("on")]
        self.faults += [f"<{tag}> loads {given[name]!r}" for name in ("src", "srcset", "poster", "action") if self._loads(given.get(name))]
        self.faults += [f"<{tag}> links {text!r}" for name in ("href", "xlink:href") if self._leaves(text := given.get(name) or "#")]
        self.ids += [str(given["id"])] if "id" in given else []
        self.anchors += [str(given["href"])[1:]] if tag == "a" and str(given.get("href")).startswith("#") else []
        if tag == "html":
            self.language = given.get("lang")
        if tag == "meta" and (given.get("http-equiv") or "").lower() == "content-security-policy":
            self.policy = given.get("content") or ""
        if tag == "img" and not (given.get("alt") or "").strip():
            self.faults.append("a picture has no words for those who cannot see it")
        if tag == "svg" and not (given.get("role") == "img" and given.get("aria-label")):
            self.faults.append("a chart has no words for those who cannot see it")
        if tag == "svg":
            self.labels.append(given.get("aria-label") or "")
        if tag == "th" and given.get("scope") not in ("row", "col", "rowgroup", "colgroup"):
            self.faults.append(f"a heading of a table has no scope: {given}")
        if tag == "tr":
            self.widths[-1].add(0)
            self.row = 0
        if tag in ("td", "th"):
            self.row += int(given.get("colspan") or 1)
        if tag == "table":
            self.widths.append(set())
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag == "input":
            label = any(name == "label" for name, _ in self.open)
            self.faults += ["an input is in no label"] * (not label)
            self.choices.append([given.get("aria-label") or ""])
        if tag not in VOID:
            self.open.append((tag, given))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1][0] != tag:
            self.faults.append(f"</{tag}> closes {[name for name, _ in self.open[-2:]]}")
            return
        self.open.pop()
        if tag == "tr":
            self.widths[-1] = (self.widths[-1] - {0}) | {self.row}

    def handle_data(self, data: str) -> None:
        inside = self.open[-1][0] if self.open else ""
        if inside == "style":
            return
        self.words.append(data)
        if self.headings and re.fullmatch(
            "h[1-6]", next((name for name, _ in reversed(self.open) if name[0] == "h" and len(name) == 2), "")
        ):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)
        if inside == "label" and self.choices and data.strip():
            self.choices[-1].append(data.strip())

    # --- what it comes to ---------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """All words, one space between them."""
        return " ".join(" ".join(self.words).split())

    def _loads(self, target: str | None) -> bool:
        return target is not None and not target.startswith("data:image/")

    def _leaves(self, target: str) -> bool:
        return bool(re.match(r"[a-z][a-z0-9+.-]*:|//", target.lower())) and not target.startswith("data:image/")

    def _conclude(self, text: str) -> None:
        if self.open:
            self.faults.append(f"never closed: {[name for name, _ in self.open]}")
        if not text.startswith("<!doctype html>") or not self.language:
            self.faults.append("no document type, or no language")
        if self.policy != POLICY:
            self.faults.append(f"another policy: {self.policy!r}")
        levels = [level for level, _ in self.headings]
        if levels.count(1) != 1 or levels[0] != 1:
            self.faults.append(f"headings of the first level: {levels.count(1)}")
        self.faults += [
            f"'{self.headings[place][1]}' (h{after}) comes under h{before}"
            for place, (before, after) in enumerate(pairwise(levels), 1)
            if after > before + 1
        ]
        self.faults += [f"an empty heading (h{level})" for level, words in self.headings if not words.strip()]
        self.faults += [f"the id {name} comes twice" for name in set(self.ids) if self.ids.count(name) > 1]
        self.faults += [f"#{name} leads nowhere" for name in self.anchors if name not in self.ids]
        self.faults += [f"rows of a table have {sorted(widths)} cells" for widths in self.widths if len(widths) > 1]
        self.faults += ["a choice has no name"] * sum(not "".join(names) for names in self.choices)
        style = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
        self.faults += [f"the style loads {found}" for found in re.findall(r"@import[^;]*|url\((?!['\"]?data:)[^)]*\)", style)]


def check(text: str, *, most_bytes: int = 8_000_000) -> PageCheck:
    """Return a page that was read, if nothing is wrong with it."""
    found = PageCheck(text)
    assert found.faults == [], found.faults[:8]
    assert len(text.encode()) <= most_bytes
    return found
