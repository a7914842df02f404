"""The body of a request: read in memory under limits, whatever it is; names as they are shown."""

import asyncio
import base64
import json
import tempfile

import numpy as np
import pytest
from PIL import Image

from triune.web.limits import Limits
from triune.web.refusals import Refused
from triune.web.served import Content
from triune.web.uploads import Held, clean_name, file_name, held_in
from web.conftest import asking, error_of, files, finished, pair


@pytest.fixture(scope="module")
def narrow(loaded):
    limits = Limits(images=3, image_bytes=20_000, bytes=50_000, pixels=4_000, body_seconds=0.3, memory=60_000)
    with asking(Content(loaded), limits) as found:
        yield found


def noise(path, side):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    return path


def test_an_upload_of_many_megabytes_touches_no_disk(client, tmp_path, monkeypatch):
    def none(*_, **__):
        raise AssertionError("a temporary file was made")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, none)
    picture = noise(tmp_path / "large.png", 1300)
    assert picture.stat().st_size > 5_000_000
    assert client.post("/embed", files=files(picture)).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png", ""])
def test_another_content_type_is_415(client, kind):
    assert "application/json" in error_of(client.post("/embed", content=b"x", headers={"content-type": kind}), 415)


def test_a_body_of_too_many_bytes_is_413_whether_it_says_so_or_not(narrow):
    headers = {"content-type": "application/json"}
    assert "50,000 bytes" in error_of(narrow.post("/embed", content=b"x" * 50_001, headers=headers), 413)

    def unsaid():
        for _ in range(60):
            yield b"x" * 1000

    assert "50,000 bytes" in error_of(narrow.post("/embed", content=unsaid(), headers=headers), 413)


def test_one_image_of_too_many_bytes_is_413_and_named(narrow, pictures):
    large = ("images", ("big.png", b"x" * 20_001, "image/png"))
    answer = narrow.post("/embed", files=[*files(pictures[0]), large])
    assert "big.png has 20,001 bytes" in error_of(answer, 413)
    assert answer.json()["image"] == 1


def test_too_many_images_are_413_in_a_form_and_in_json(narrow, pictures):
    assert "more than 3 images" in error_of(narrow.post("/embed", files=files(*[pictures[0]] * 4)), 413)
    text = base64.b64encode(pictures[0].read_bytes()).decode()
    assert "more than 3 images" in error_of(narrow.post("/embed", json={"images": [text] * 4}), 413)


def test_bodies_together_take_no_more_memory_than_they_may(narrow, pictures):
    served = narrow.app.state.served
    served.held.take(59_000)
    answer = narrow.post("/embed", files=files(pictures[0]))
    served.held.free(59_000)
    assert "memory" in error_of(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert narrow.post("/embed", files=files(pictures[0])).status_code == 200
    assert served.held.now == 0


def test_bytes_are_counted_until_the_request_is_done():
    held, limits = Held(10), Limits(bytes=8)
    with held_in(held, limits) as first:
        first.take(8)
        with pytest.raises(Refused, match="more than 8 bytes"):
            first.take(1)
        with held_in(held, limits) as second, pytest.raises(Refused, match="memory"):
            second.take(3)
        assert held.now == 8
    assert held.now == 0


def test_a_slow_body_is_408(loaded):
    """Asked as a server asks an application: a body of which the second part never comes."""
    with asking(Content(loaded), Limits(body_seconds=0.2)) as client:
        parts = iter([{"type": "http.request", "body": b"{", "more_body": True}])
        sent = []

        async def receive():
            part = next(parts, None)
            return part if part is not None else await asyncio.sleep(60)

        async def send(message):
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        scope = {
            "type": "http", "method": "POST", "path": "/embed", "headers": headers, "query_string": b"",
            "http_version": "1.1", "scheme": "http", "raw_path": b"/embed", "root_path": "", "client": None,
        }  # fmt: skip
        finished(client.app(scope, receive, send))
    assert sent[0]["status"] == 408
    assert "within 0.2 s" in json.loads(sent[1]["body"])["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"images": ["%%%"]}', "image 0 is no base64"),
        (b'{"images": [7]}', "image 0 is no text"),
        (b'{"images": null}', "no images were sent"),
        (b'{"images": []}', "no images were sent"),
        (b'{"images": [""]}', "is empty"),
        (b'{"images": ["aGVsbG8="], "bogus": 1}', "there is no field 'bogus'"),
    ],
)  # fmt: skip
def test_a_body_that_is_none_is_422_and_says_why(client, body, said):
    answer = client.post("/embed", content=body, headers={"content-type": "application/json"})
    assert said in error_of(answer, 422)


@pytest.mark.parametrize(
    "body",
    [b"", b"--x\r\n", b"nothing of it", b'--x\r\nContent-Disposition: form-data; name="images"\r\n\r\nabc\r\n--x--']
)  # fmt: skip
def test_a_form_that_is_none_is_422(client, body):
    error_of(client.post("/embed", content=body, headers={"content-type": "multipart/form-data; boundary=x"}), 422)
    error_of(client.post("/embed", content=body, headers={"content-type": "multipart/form-data"}), 422)


def test_a_file_in_a_field_that_there_is_none_of_is_named(client, pictures):
    assert "no field 'imagez'" in error_of(client.post("/embed", files=files(pictures[0], field="imagez")), 422)


def test_a_field_given_twice_is_refused_rather_than_guessed(client, pictures):
    sent = [*files(pictures[0]), ("masks", (None, "true")), ("masks", (None, "false"))]
    assert "'masks' is given twice" in error_of(client.post("/predict", files=sent), 422)


def test_a_field_of_json_given_twice_is_refused_as_in_a_form(client, pictures):
    image = base64.b64encode(pictures[0].read_bytes()).decode()
    body = f'{{"images": ["{image}"], "masks": true, "masks": false}}'
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert "'masks' is given twice" in error_of(answer, 422)


def test_a_form_that_is_cut_off_is_refused_though_its_first_image_is_whole(client, pictures):
    head = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
    image = pictures[0].read_bytes()
    headers = {"content-type": "multipart/form-data; boundary=x"}
    whole = head + image + b"\r\n" + head + image + b"\r\n--x--\r\n"
    assert len(client.post("/embed", content=whole, headers=headers).json()["embeddings"]) == 2
    cut = whole[: len(head) + len(image) + len(head) + 20]
    assert "cut off" in error_of(client.post("/embed", content=cut, headers=headers), 422)


def test_a_route_without_fields_says_that_there_are_none(client, pictures):
    answer = client.post("/embed", files=files(pictures[0]), data={"fpr": "0.1"})
    assert error_of(answer, 422) == "there is no field 'fpr': there are none beside the images"


def test_json_takes_values_of_its_kind_alone_and_a_form_their_text(client, pictures):
    text = base64.b64encode(pictures[0].read_bytes()).decode()
    assert "fpr" in error_of(client.post("/verify", json={"first": text, "second": text, "fpr": "0.1"}), 422)
    assert client.post("/verify", json={"first": text, "second": text, "fpr": 0.1}).status_code == 200
    assert client.post("/verify", files=pair(*pictures[:2]), data={"fpr": "0.1"}).status_code == 200


def test_a_data_url_is_read_as_its_base64(client, pictures):
    text = base64.b64encode(pictures[0].read_bytes()).decode()
    plain = client.post("/embed", json={"images": [text]}).json()
    assert client.post("/embed", json={"images": [f"data:image/png;base64,{text}"]}).json() == plain


def test_images_of_one_name_are_told_apart(client, pictures):
    answer = client.post("/predict", files=files(pictures[0], pictures[0], pictures[0]), data={"masks": "false"})
    name = pictures[0].name
    assert [each["name"] for each in answer.json()["predictions"]] == [name, f"{name} (2)", f"{name} (3)"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a.png", "a.png"),
        ("/", "image 4"),
        ("..", "image 4"),
        ("", "image 4"),
        (None, "image 4"),
        ("a\x00b\n.png", "ab.png"),
        ("\u202egnp.exe", "gnp.exe"),
        ("x" * 500 + ".png", "x" * 196 + ".png"),
        ("<script>alert(1)</script>.png", "script>.png"),
        ("cafe\u0301.png", "café.png"),
    ],
)
def test_a_file_name_is_its_last_part_as_it_can_be_shown(given, shown):
    assert file_name(given, 4) == shown


@pytest.mark.parametrize("text", ["", "  ", "x" * 201, "a\nb", "a\x00", "\x1b[31m", "\u202eAda", "a\u2028b"])
def test_a_name_that_cannot_be_shown_is_refused(text):
    with pytest.raises(Refused) as refused:
        clean_name(text, "identity")
    assert refused.value.status == 422


@pytest.mark.parametrize("text", ["Ada", "<b>Ada</b>", "Zoë", "می\u200cخواهم", "O'Brien; DROP TABLE", "../x"])
def test_a_name_that_can_be_shown_is_kept_as_it_is(text):
    assert clean_name(f" {text} ", "identity") == text
