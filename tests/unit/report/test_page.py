"""Pages: self-contained, escaped, well-formed."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from photic.core.errors import DataError
from photic.report import page
from photic.report.page import Card, Cell, Column, Page, Shot, Tile

EVIL = "<script>alert('x')</script> & \"quoted\""
VOID = {"meta", "img", "br", "link", "input"}


class Tags(HTMLParser):
    """Checks that tags are closed in order, and keeps attributes that could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.loads += [str(values[name]) for name in ("src", "srcset", "data", "action", "href", "xlink:href") if values.get(name)]
        self.ids += [str(values["id"])] if "id" in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    return tags


def everything() -> Page:
    made = Page(title=EVIL, eyebrow=EVIL, verdict=EVIL, badges=[(EVIL, EVIL)])
    made.head.append(page.tiles([Tile(label=EVIL, value=EVIL, note=EVIL)]))
    made.head.append(page.notice(EVIL, "warning"))
    section = made.section("First things: 1 & 2", EVIL)
    columns = [Column(title=EVIL, number=False), Column(title="AP", group=EVIL, hint=EVIL)]
    cells = [EVIL, Cell(text=EVIL, note=EVIL, span=(0.1, 0.2, 0.3), colour="#0072b2")]
    section.add(page.table(columns, [cells], [cells]), page.prose(EVIL), page.heading(EVIL))
    section.add(page.facts({EVIL: EVIL, "absent": None}), page.commands([(EVIL, EVIL)]))
    section.add(page.details(EVIL, page.preformatted(EVIL)), page.figure(Markup("<svg></svg>"), EVIL, [(EVIL, "#0072b2", True)]))
    section.add(page.grid([page.confusion(EVIL, "#0072b2", np.array([[5, 1], [0, 0]]), EVIL)]))
    uri = page.jpeg_uri(np.zeros((4, 8, 3), dtype=np.uint8))
    card = Card(pictures=[(uri, EVIL)], title=EVIL, colour="#0072b2", lines=[EVIL], name=EVIL, mark=EVIL, tone="bad")
    section.add(page.cards([card], 300, stacked=True))
    made.section("Second")
    made.section("Third")
    return made


def test_every_text_is_escaped_and_every_tag_closed() -> None:
    text = everything().render()
    parsed(text)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 20
    assert "absent</dt>" not in text


def test_a_page_loads_nothing_and_tells_browsers_so() -> None:
    text = everything().render()
    tags = parsed(text)
    assert all(target.startswith(("data:", "#")) for target in tags.loads)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert not re.search(r"@import|url\(|<link|<script", text)


def test_links_lead_to_the_sections() -> None:
    tags = parsed(everything().render())
    assert {target.removeprefix("#") for target in tags.loads if target.startswith("#")} == set(tags.ids)
    assert tags.ids == ["first-things--1---2", "second", "third"]


def test_pages_fit_phones_print_and_dark_screens() -> None:
    text = Page(title="x").render()
    for feature in ('name="viewport"', "@media (max-width: 640px)", "@media print", "prefers-color-scheme: dark"):
        assert feature in text


def test_columns_of_a_group_share_a_heading() -> None:
    columns = [Column(title="class"), *(Column(title=name, group="tuned") for name in "abc")]
    text = page.table(columns, [["x", 1, 2, 3]])
    assert '<td colspan="1"></td><th colspan="3" scope="colgroup" class="group">tuned</th>' in text
    assert "groups" not in page.table([Column(title="a")], [["x"]])


def test_pictures_travel_inside_the_page() -> None:
    image = np.zeros((4, 8, 3), dtype=np.uint8)
    image[:, 4:] = 255
    kind, content = page.jpeg_uri(image).split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as decoded:
        assert decoded.size == (8, 4)
        assert np.abs(np.asarray(decoded).astype(int) - image).max() < 12


def test_an_empty_row_of_a_confusion_divides_by_nothing() -> None:
    text = page.confusion("pits", "#0072b2", np.array([[5, 0], [0, 0]]), "none labelled")
    assert "--share:0.000" in text and "nan" not in text


def test_numbers_and_times_are_shown_as_people_write_them() -> None:
    assert [page.number(value, 2) for value in (0.123, 1, None, float("nan"), float("inf"))] == ["0.12", "1.00", "–", "–", "–"]
    assert [page.duration(value) for value in (0.4, 59.4, 60, 3599, 7265)] == ["0 s", "59 s", "1 min 00 s", "59 min 59 s", "2 h 01 min"]


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    target = everything().write(tmp_path / "sub" / "page.html")
    assert target.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [path.name for path in target.parent.iterdir()] == ["page.html"]


def test_a_misspelt_value_in_a_template_is_an_error() -> None:
    with pytest.raises(Exception, match="undefined"):
        page._environment().from_string("{{ nothing.there }}").render()


def test_a_picture_is_embedded_whole_and_its_words_are_escaped() -> None:
    content = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(content, format="PNG")
    made = page.picture(page.png_uri(content.getvalue()), EVIL, EVIL, sharp=True)
    tags = parsed(made)
    (source,) = tags.loads
    kept = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))))
    assert kept.tolist() == np.arange(48).reshape(4, 4, 3).tolist()
    assert "<script>" not in made and 'class="picture sharp"' in made
    assert "figcaption" not in page.picture(source, "a picture")


def shots(*names: str) -> list[Shot]:
    return [Shot(label=name, uri=f"data:image/jpeg;base64,{name * 4}", alternative=f'a "{name}" room') for name in names]


def test_a_slider_holds_its_pictures_without_a_script() -> None:
    block = page.slider(shots("A"), shots("B")[0], size=(40, 60), caption=EVIL)
    tags = parsed(block)
    assert tags.loads == ["data:image/jpeg;base64,BBBB", "data:image/jpeg;base64,AAAA"]
    assert "<script" not in block and " on" not in re.sub(r">[^<]*<", "><", block)  # no handlers either
    assert "aspect-ratio:60/40" in block
    assert "a &#34;A&#34; room" in block
    assert block.count("checked") == 1 and 'aria-label="50 %" checked' in block
    assert "against" not in block  # there is nothing to choose


def test_of_several_pictures_the_reader_chooses_what_is_held_against_the_right_one() -> None:
    block = page.slider(shots("A", "B", "C"), shots("D")[0], size=(4, 6), sharp=True, most_px=99)
    choices = block[block.index('class="against"') :]
    assert choices.count("checked") == 1 and choices.index("checked") < choices.index(" A<")
    assert [f" {name}</label>" in choices for name in "ABCD"] == [True, True, True, False]
    assert 'class="slider sharp"' in block and "max-width:99px" in block


def test_sliders_do_not_move_each_other_and_come_out_the_same_each_time() -> None:
    names = [set(re.findall(r'name="(\w+)-at"', page.slider(shots(*left), shots("D")[0], size=(4, 6)))) for left in ("A", "B", "AB", "A")]
    assert [len(found) for found in names] == [1] * 4
    assert names[0] == names[3] and len(set.union(*names)) == 3


def test_every_place_of_the_edge_has_its_rule_and_paper_shows_all_pictures() -> None:
    text, block = Page(title="x").render(), page.slider(shots("A"), shots("B")[0], size=(4, 6))
    stops = re.findall(r'aria-label="(\d+) %"', block)
    for place, stop in enumerate(stops, 1):
        assert f".wipe:has(.at:nth-child({place}) > :checked) {{ --at: {stop}%; }}" in text
        assert f".wipe:has(.at:nth-child({place}):hover) {{ --at: {stop}%; }}" in text
    assert (stops[0], stops[-1]) == ("0", "100") and "50" in stops
    assert "clip-path: none !important" in text[text.index("@media print") :]


def test_pictures_of_a_folder_are_taken_as_they_are_and_nothing_else_is(tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    folder.mkdir()
    Image.new("RGB", (3, 2)).save(folder / "a.png")
    Image.new("RGB", (3, 2)).save(folder / "a.jpg")
    assert page.file_uri(folder, "a.png") == page.png_uri((folder / "a.png").read_bytes())
    assert page.file_uri(folder, "a.jpg").startswith("data:image/jpeg")
    (tmp_path / "secret.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "text.png").write_text("root:x:0:0")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    for name, why in (
        ("../secret.png", "leads out"),
        ("link.png", "leads out"),
        ("text.png", "no PNG or JPEG"),
        ("b.png", "cannot be read"),
    ):
        with pytest.raises(DataError, match=why):
            page.file_uri(folder, name)
