"""Lists of pictures over several requests: every answer at its picture's place, every error by the picture's name."""

import httpx
import numpy as np
import pytest
from PIL import Image

from triune.errors import InputError
from triune.serving.answers import Unreadable
from triune.serving.pictures import pictures
from triune.web.exchange import Exchange, Question, reason_of
from triune.web.sending import Refusal
from web.faked import Faked, form_of, said

ABOUT = {"name": "fake", "limits": {"images": 3, "bytes": 1 << 20, "image_bytes": 1 << 20}}
NUMBERS = Question("numbers", lambda told, names: told["numbers"], {"asked": "yes"})


@pytest.fixture
def images(tmp_path):
    """Eight files, each of which holds its number."""
    for k in range(8):
        (tmp_path / f"{k}.png").write_bytes(str(k).encode())
    return pictures(sorted(tmp_path.glob("*.png")))


def service(*bad, about=ABOUT):
    """Answers the number in each file; those that are bad are refused, the first of them by its place."""

    def answer(request):
        if request.url.path.endswith("/about"):
            return said(**about)
        files = [(name, content.decode()) for field, name, content in form_of(request) if field == "images"]
        for place, (name, number) in enumerate(files):
            if int(number) in bad:
                return said(422, error=f"{name} cannot be read as an image: damaged", image=place)
        return said(numbers=[int(number) for _, number in files])

    return Faked(answer)


def test_a_long_list_goes_in_several_requests_and_comes_back_in_order(images):
    fake, seen = service(), []
    assert Exchange(fake.sender()).each(NUMBERS, images, progress=lambda *both: seen.append(both)) == list(range(8))
    posted = [form_of(each) for each in fake.asked if each.method == "POST"]
    assert [sum(field == "images" for field, *_ in form) for form in posted] == [3, 3, 2]
    assert all(("asked", None, b"yes") in form for form in posted)
    assert seen == [(3, 8), (6, 8), (8, 8)]


def test_an_image_that_the_service_cannot_read_is_an_error_with_the_path_that_it_has_here(images):
    with pytest.raises(InputError) as raised:
        Exchange(service(4).sender()).each(NUMBERS, images)
    assert str(raised.value) == f"{images[4].name} cannot be read as an image: damaged"


@pytest.mark.parametrize("bad", [(0,), (7,), (3, 4, 5), (1, 2, 6), range(8)])
def test_with_skip_it_is_told_in_its_place_and_the_others_are_answered(images, bad):
    found = Exchange(service(*bad).sender()).each(NUMBERS, images, skip=True)
    assert found == [Unreadable(images[k].name, "damaged") if k in bad else k for k in range(8)]


def test_one_that_cannot_be_sent_is_told_in_its_place_too(images):
    images = [*images[:2], images[2]._replace(source="/gone.png"), *images[3:]]
    found = Exchange(service().sender()).each(NUMBERS, images, skip=True)
    assert found == [0, 1, Unreadable(images[2].name, "/gone.png does not exist"), 3, 4, 5, 6, 7]


def test_the_reason_is_told_without_the_name_whatever_the_words():
    (picture,) = pictures([Image.new("L", (2, 2))])
    assert reason_of(Refusal("image 0 cannot be read as an image: cut short"), picture) == "cut short"
    assert reason_of(Refusal("image 0 is no image"), picture) == "is no image"
    assert reason_of(Refusal("too large"), picture) == "too large"


def test_another_refusal_is_an_error_with_skip_too(images):
    fake = Faked(lambda request: said(**ABOUT) if request.method == "GET" else said(422, error="fpr is 2"))
    with pytest.raises(InputError, match=r"^fpr is 2$"):
        Exchange(fake.sender()).each(NUMBERS, images, skip=True)


@pytest.mark.parametrize("place", [8, -1, "first", None])
def test_a_place_that_is_none_names_no_image(images, place):
    fake = Faked(lambda request: said(**ABOUT) if request.method == "GET" else said(422, error="bad", image=place))
    with pytest.raises(InputError, match=r"^bad$"):
        Exchange(fake.sender()).each(NUMBERS, images, skip=True)


@pytest.mark.parametrize("told", [{}, {"numbers": None}, {"other": 1}])
def test_an_answer_of_another_version_is_told_as_such(images, told):
    fake = Faked(lambda request: said(**ABOUT) if request.method == "GET" else said(**told))
    question = Question("numbers", lambda told, names: list(told["numbers"]))
    with pytest.raises(InputError, match=r"does not understand .*use the same version on both sides"):
        Exchange(fake.sender()).each(question, images)


def test_limits_that_are_none_are_told_as_such(images):
    with pytest.raises(InputError, match="does not understand"):
        Exchange(service(about={"limits": {"images": "many"}}).sender()).each(NUMBERS, images)


def test_a_service_that_is_away_is_no_image_s_fault(images, monkeypatch):
    """Else a pair of sound images would be told to be unreadable wherever the service is down."""
    monkeypatch.setattr("triune.web.sending.time.sleep", lambda seconds: None)
    for answer in (httpx.ConnectError("refused"), said(401, error="the token is missing"), said(limits=1)):
        with pytest.raises(InputError) as raised:
            Exchange(Faked(answer).sender()).files(("first", "second"), images[:2])
        assert "0.png" not in str(raised.value)
        assert getattr(raised.value, "image", None) is None


def test_files_of_several_fields_keep_their_order_and_name_the_one_that_cannot_be_sent(images):
    exchange = Exchange(service().sender())
    files = exchange.files(("first", "second"), images[:2])
    assert files == [("first", ("0.png", b"0", "image/png")), ("second", ("1.png", b"1", "image/png"))]
    with pytest.raises(InputError, match="image 1 cannot be read as an image: its pixels are floating-point") as raised:
        exchange.files(("like", "unlike"), pictures([np.zeros((2, 2), np.uint8), Image.new("F", (2, 2))]))
    assert raised.value.image == 1
