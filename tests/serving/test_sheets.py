"""Contact sheets: what is said stands beside the right image, whatever its characters; nothing comes from elsewhere."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from triune.data.boxes import Box
from triune.errors import InputError
from triune.serving import sheets
from triune.serving.sheets import SheetImage, SheetRow, write_sheet

HOSTILE = '"><script>alert(1)</script><img src=x onerror="alert(2)">&amp;'


class Page(HTMLParser):
    """The elements of a page, and its texts by the class of the section's figure they stand in."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.images, self.tiles, self.texts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append((tag, given))
        if tag == "img":
            self.images.append(given)
        if tag == "figure":
            self.tiles.append((given["class"].split(), []))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())
            if self.tiles:
                self.tiles[-1][1].append(data.strip())


def written(tmp_path, rows, **options):
    return Page(write_sheet(tmp_path / "sheet.html", "Found", rows, **options).read_text(encoding="utf-8"))


def decoded(source):
    kind, _, data = source.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def colour(name):
    return Image.new("RGB", (20, 20), name)


def mean(image):
    return np.asarray(image).reshape(-1, 3).mean(0)


def test_query_and_hits_stand_in_their_order_with_their_words_and_marks(tmp_path):
    colour("red").save(tmp_path / "q.png")
    rows = [
        SheetRow(
            SheetImage(tmp_path / "q.png", "query"),
            [
                SheetImage(colour("lime"), "cup 0.93", "a.jpg", "good"),
                SheetImage(colour("blue"), "dog 0.5", mark="bad"),
            ],
            note="far away",
            heading="First",
        )
    ]
    page = written(tmp_path, rows, about=["two images"])
    assert [kind for kind, _ in page.tiles] == [["query", "plain"], ["hit", "good"], ["hit", "bad"]]
    assert page.tiles[0][1][0] == "query"
    assert page.tiles[1][1] == ["✓", "cup 0.93", "a.jpg"]
    assert page.tiles[2][1][:2] == ["✗", "dog 0.5"]
    for shown, expected in zip(page.images, ([255, 0, 0], [0, 255, 0], [0, 0, 255]), strict=True):
        np.testing.assert_allclose(mean(decoded(shown["src"])), expected, atol=6)
    assert {"Found", "two images", "far away", "First"} <= set(page.texts)


def test_everything_is_escaped_and_nothing_is_fetched(tmp_path):
    rows = [
        SheetRow(SheetImage(colour("red"), HOSTILE, HOSTILE), [SheetImage(HOSTILE, HOSTILE, HOSTILE)], HOSTILE, HOSTILE)
    ]
    place = write_sheet(tmp_path / "sheet.html", HOSTILE, rows, about=[HOSTILE])
    page = Page(place.read_text(encoding="utf-8"))
    assert not {"script", "iframe", "object", "a"} & {tag for tag, _ in page.tags}
    assert all(not name.startswith("on") for _, given in page.tags for name in given)
    assert all(given["src"].startswith("data:") for _, given in page.tags if "src" in given)
    assert HOSTILE in page.texts
    policy = next(given["content"] for tag, given in page.tags if tag == "meta" and "http-equiv" in given)
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize(
    "name", ["line\nbreak.png", "\x1b[2J.png", "half \udce9.png", "\N{RIGHT-TO-LEFT OVERRIDE}.png"]
)
def test_names_of_any_characters_can_be_written(tmp_path, name):
    page = written(tmp_path, [SheetRow(None, [SheetImage(tmp_path / name, name, name)])])
    assert page.tiles[0][1][0].endswith("png cannot be read")
    assert all(each.isprintable() for text in page.tiles[0][1] for each in text)


@pytest.mark.parametrize("content", [None, b"", b"no image", b"\x89PNG\r\n\x1a\n truncated"])
def test_an_image_that_cannot_be_read_any_more_is_an_empty_tile_with_its_name(tmp_path, content):
    place = tmp_path / "lost.png"
    if content is not None:
        place.write_bytes(content)
    page = written(
        tmp_path, [SheetRow(SheetImage(colour("red"), "query"), [SheetImage(str(place), "cup", str(place))])]
    )
    assert page.tiles[1][1][:2] == ["lost.png cannot be read", "cup"]
    assert len(page.images) == 1


def test_images_stand_upright_in_their_shape_and_large_ones_are_made_small(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (300, 100), "teal").save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (4000, 1000), "teal").save(tmp_path / "large.jpg")
    page = written(tmp_path, [SheetRow(None, [SheetImage(tmp_path / n, n) for n in ("turned.jpg", "large.jpg")])])
    sizes = [decoded(image["src"]).size for image in page.images]
    assert sizes == [(round(sheets.SIDE / 3), sheets.SIDE), (sheets.SIDE, sheets.SIDE // 4)]


def test_of_an_image_with_a_box_the_part_within_it_is_shown(tmp_path):
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[10:30, 20:60] = (250, 10, 10)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    page = written(tmp_path, [SheetRow(SheetImage(tmp_path / "a.png", "", box=Box(20, 10, 60, 30)), [])])
    shown = decoded(page.images[0]["src"])
    assert shown.size == (176, 88)
    assert np.abs(np.asarray(shown).mean((0, 1)) - (250, 10, 10)).max() < 8


def test_thousands_of_images_are_bounded_and_the_page_says_how_many_are_not_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "MOST_IMAGES", 20)
    monkeypatch.setattr(sheets, "MOST_HITS", 4)
    tile = SheetImage(colour("red"), "x")
    page = written(tmp_path, [SheetRow(tile, [tile] * 6)] * 1200)
    assert len(page.images) == 20  # 4 rows of a query and 4 hits
    assert page.texts.count("and 2 more") == 4
    assert any(text.startswith("1,196 of 1,200 rows are not shown") for text in page.texts)
    whole = written(tmp_path, [SheetRow(tile, [tile] * 4)] * 4)
    assert not any("not shown" in text or text.startswith("and ") for text in whole.texts)


def test_no_hits_and_no_rows_are_said(tmp_path):
    assert "nothing found" in written(tmp_path, [SheetRow(SheetImage(colour("red"), "q"), [])]).texts
    assert "Nothing to show." in written(tmp_path, []).texts


def test_the_folder_that_all_paths_share_is_told_once(tmp_path):
    hits = [SheetImage("x", "x", f"/data/items/{k}/a b.png") for k in range(2)]
    page = written(tmp_path, [SheetRow(None, hits)])
    assert "Paths are below /data/items/" in page.texts
    assert "".join(page.tiles[1][1][2:]).startswith("1/a b.png")
    away = written(tmp_path, [SheetRow(SheetImage("q", "query", "/elsewhere/q.png"), hits)])
    assert "Paths are below /data/items/" in away.texts, "a query may lie anywhere"
    assert "".join(away.tiles[0][1][2:]).startswith("/elsewhere/q.png")
    long = f"/data/items/{'f' * 50}/{'g' * 50}/c.png"
    page = written(tmp_path, [SheetRow(None, [SheetImage("x", "x", long), *hits])])
    assert page.tiles[0][1][2:] == ["…/", "g" * 50 + "/", "c.png"]
    assert long in [given.get("title") for _, given in page.tags]
    assert not any("below" in text for text in written(tmp_path, [SheetRow(None, [SheetImage("x", "x", "/a")])]).texts)


def test_a_page_is_a_page(tmp_path):
    with pytest.raises(InputError, match=r"found\.csv is no name of a page"):
        write_sheet(tmp_path / "found.csv", "x", [])
