"""A client gives the very answers of the run and the gallery that the service has."""

import subprocess
import sys

import httpx
import numpy as np
import pytest
from PIL import Image

import triune
from triune.errors import InputError
from triune.serving.answers import Unreadable
from web.conftest import indexed
from web.faked import Faked, said


@pytest.fixture(scope="module")
def run(served_run):
    return triune.load(served_run, device="cpu")


@pytest.fixture(scope="module")
def client(service):
    with triune.Client(service) as found:
        yield found


@pytest.fixture(scope="module")
def gallery(served_run, run, tmp_path_factory):
    """The rows that the service's gallery has."""
    return triune.Gallery.open(indexed(served_run, tmp_path_factory.mktemp("own") / "G"), run)


def known(columns):
    """Cells that are filled: other tests enrol in the service's gallery, which gives it columns of its own."""
    return {name: value for name, value in columns.items() if value is not None}


def same_prediction(one, other):
    """Of two predictions: whether they are one, but for the last bits that batches of other sizes change."""
    assert (one.name, one.size, one.unfamiliar, one.label) == (other.name, other.size, other.unfamiliar, other.label)
    if one.probabilities is None:
        assert other.probabilities is None
    else:
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    for mine, its in ((one.mask, other.mask), (one.embedding, other.embedding)):
        assert (mine is None) == (its is None)
        if mine is not None:
            assert (mine.shape, mine.dtype) == (its.shape, its.dtype)
            np.testing.assert_allclose(mine, its, atol=1e-5)
    return True


def test_it_says_what_the_run_is(client, run):
    assert (client.metric, client.dim, client.classes) == (run.metric, run.dim, run.classes)
    assert client.fingerprint == run.fingerprint
    assert client.ready()
    assert client.about()["version"] == triune.__version__


def test_embeddings_are_those_of_the_run_whatever_form_the_images_have(client, run, pictures):
    opened = [Image.open(path) for path in pictures[:2]]
    array = np.asarray(opened[0])
    for given in (pictures, str(pictures[0].parent), pictures[0], opened, array, np.stack([array] * 3), array / 255.0):
        found, expected = client.embed(given), run.embed(given)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_table_is_read_here_with_its_boxes(client, run, pictures, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(f"image,x_1,y_1,x_2,y_2\n{pictures[0]},3,4,30,39\n{pictures[1]},,,,\n")
    np.testing.assert_allclose(client.embed(table), run.embed(table), atol=1e-5)


def test_a_long_list_comes_back_in_order(client, run, pictures):
    order = [pictures[k] for k in np.random.default_rng(0).integers(0, len(pictures), 70)]
    seen = []
    np.testing.assert_allclose(
        client.embed(order, progress=lambda *both: seen.append(both)), run.embed(order), atol=1e-5
    )
    assert seen[-1] == (70, 70)
    assert len(seen) > 1


@pytest.mark.parametrize("method", ["predict", "classify", "segment"])
def test_predictions_are_those_of_the_run(client, run, pictures, method):
    found, expected = getattr(client, method)(pictures[:5]), getattr(run, method)(pictures[:5])
    assert all(same_prediction(mine, its) for mine, its in zip(found, expected, strict=True))


def test_an_image_that_cannot_be_read_is_an_error_or_told_in_its_place(client, run, pictures, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures[0].read_bytes()[:100])
    text = tmp_path / "text.png"
    text.write_text("no image")
    given = [pictures[0], broken, pictures[1], text]
    for ask in (client.embed, client.predict, client.classify):
        with pytest.raises(InputError) as raised:
            ask(given)
        assert str(broken) in str(raised.value)
        assert "\n" not in str(raised.value)
    found = client.predict(given, skip=True)
    assert [type(each) is Unreadable for each in found] == [False, True, False, True]
    assert [each.name for each in found] == [str(each) for each in given]
    assert [type(each) is Unreadable for each in run.predict(given, skip=True)] == [False, True, False, True]


def close(one, other):
    alike = one.distance == pytest.approx(other.distance, abs=1e-5)
    return alike and one._replace(distance=0.0) == other._replace(distance=0.0)


@pytest.mark.parametrize("fpr", [None, 0.1, 0.05, 0.07])
def test_verdicts_are_those_of_the_run(client, run, pictures, fpr):
    for other in (1, 7):
        found, expected = (each.verify(pictures[0], pictures[other], fpr=fpr) for each in (client, run))
        assert type(found) is type(expected)
        assert close(found, expected)


def test_of_two_images_with_one_name_the_unfamiliar_one_is_told(client, run, pictures, tmp_path):
    (tmp_path / "other").mkdir()
    strange = tmp_path / "other" / pictures[0].name
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(strange)
    for pair in ((pictures[0], strange), (strange, pictures[0]), (strange, strange)):
        found, expected = client.verify(*pair), run.verify(*pair)
        assert close(found, expected)


def test_many_pairs_are_answered_in_order(client, run, pictures, tmp_path):
    pairs = [(pictures[k], pictures[(3 * k) % 18]) for k in range(18)]
    assert all(close(*both) for both in zip(client.verify_pairs(pairs), run.verify_pairs(pairs), strict=True))
    table = tmp_path / "pairs.csv"
    table.write_text("first,second\n" + "".join(f"{a},{b}\n" for a, b in pairs[:3]))
    assert all(close(*both) for both in zip(client.verify_pairs(table), run.verify_pairs(table), strict=True))
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    bad = [pairs[0], (pictures[0], broken), (broken, tmp_path / "broken.png")]
    found, expected = client.verify_pairs(bad, skip=True), run.verify_pairs(bad, skip=True)
    assert close(found[0], expected[0])
    assert [each.name for each in found[1:]] == [each.name for each in expected[1:]]
    with pytest.raises(InputError, match=r"broken\.png"):
        client.verify_pairs(bad)


def same_hits(one, other):
    assert one.query == other.query
    for mine, its in zip(one.hits, other.hits, strict=True):
        assert (mine.row, mine.image, mine.label, mine.identity, known(mine.columns)) == (
            its.row,
            its.image,
            its.label,
            its.identity,
            known(its.columns),
        )
        assert (mine.score, mine.distance) == pytest.approx((its.score, its.distance), abs=1e-5)
    return True


@pytest.mark.parametrize("how", [{}, {"k": 2}, {"where": "label = 'odd'"}, {"k": 4, "diversity": 0.5}, {"k": 1000}])
def test_hits_are_those_of_the_gallery(client, gallery, pictures, how):
    found, expected = client.search(pictures[3:6], **how), gallery.search(pictures[3:6], **how)
    assert all(same_hits(*both) for both in zip(found, expected, strict=True))


def test_what_is_like_some_and_unlike_others_is_one_answer(client, gallery, pictures):
    like, unlike = pictures[3:5], pictures[9]
    for more in ({}, {"unlike": unlike}):
        found, expected = client.search(like=like, k=3, **more), gallery.search(like=like, k=3, **more)
        assert len(found) == 1
        assert [hit.image for hit in found[0].hits] == [hit.image for hit in expected[0].hits]


@pytest.mark.parametrize("how", [{}, {"fpir": 0.3}, {"where": "label = 'odd'"}])
def test_identifications_are_those_of_the_gallery_with_their_rule(client, gallery, pictures, how):
    found, expected = client.identify(pictures[3:9], **how), gallery.identify(pictures[3:9], **how)
    for mine, its in zip(found, expected, strict=True):
        assert (mine.query, mine.identity, mine.rule) == (its.query, its.identity, its.rule)
        assert [each.identity for each in mine.candidates] == [each.identity for each in its.candidates]
        assert mine.score == pytest.approx(its.score, abs=1e-5)


def test_queries_that_cannot_be_read_are_left_out_and_told(client, pictures, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    for ask in (client.search, client.identify):
        told = []
        found = ask([pictures[3], broken, pictures[4]], left_out=told)
        assert [each.query for each in found] == [str(pictures[3]), str(pictures[4])]
        assert len(told) == 1
        assert told[0].startswith(f"{broken}: ")
        with pytest.raises(InputError, match=r"none of 1 image could be read; the first is .*broken\.png"):
            ask(broken, left_out=[])


def test_who_is_enrolled_is_found_until_it_is_undone(client, pictures):
    before = client.about()["gallery"]["count"]
    enrolment = client.enrol(pictures[3:5], "Ada <b>", label="person")
    assert (enrolment.identity, len(enrolment.images), enrolment.count) == ("Ada <b>", 2, before + 2)
    assert client.enrolments()[0]["enrolment"] == enrolment.id
    (hits,) = client.search(pictures[3], k=1)
    assert (hits.hits[0].identity, hits.hits[0].label) == ("Ada <b>", "person")
    assert client.thumbnail(hits.hits[0].row)[:2] == b"\xff\xd8"
    assert client.undo(enrolment) == 2
    assert client.about()["gallery"]["count"] == before
    with pytest.raises(InputError, match=enrolment.id):
        client.undo(enrolment.id)


def test_an_enrolment_whose_answer_was_lost_is_there_once(service, pictures, monkeypatch):
    """The connection breaks off after the service has done it: the client asks again, by the same key."""
    monkeypatch.setattr("triune.web.sending.time.sleep", lambda seconds: None)
    with triune.Client(service) as client:
        before = client.about()["gallery"]["count"]
        send, lost = client._exchange.sender.connections.here().request, []

        def losing(method, path, **more):
            answer = send(method, path, **more)
            if path == "enrol" and not lost:
                lost.append(answer.json()["enrolment"])
                raise httpx.ReadError("reset by peer")
            return answer

        monkeypatch.setattr(client._exchange.sender.connections.here(), "request", losing)
        enrolment = client.enrol(pictures[3:5], "Grace")
        assert lost == [enrolment.id]
        assert client.about()["gallery"]["count"] == before + 2
        assert client.undo(enrolment) == 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda client, image: client.embed([]), "no images were given"),
        (lambda client, image: client.embed("gone.png"), "gone.png does not exist"),
        (lambda client, image: client.embed(3), "int is no image"),
        (lambda client, image: client.verify([image, image], image), "but 3 were given"),
        (lambda client, image: client.verify_pairs([]), "no pairs were given"),
        (lambda client, image: client.verify_pairs([(image, image, image)]), "pair 0 is of 3 images"),
        (lambda client, image: client.verify(image, image, fpr=2), "fpr"),
        (lambda client, image: client.search(image, like=image), "one of the two"),
        (lambda client, image: client.search(unlike=image), "unlike needs like"),
        (lambda client, image: client.undo("../about"), "'../about' is no enrolment"),
        (lambda client, image: client.undo(""), "'' is no enrolment"),
        (lambda client, image: client.thumbnail("x"), "'x' is no row"),
        (lambda client, image: client.thumbnail(1.5), "1.5 is no row"),
    ],
)
def test_bad_input_is_told_in_one_line(client, pictures, call, words):
    with pytest.raises(InputError) as raised:
        call(client, pictures[0])
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_heads_that_a_network_lacks_are_told_without_sending_anything(pictures):
    fake = Faked(said(name="plain", classes=[], masks=False, dim=8, metric="cosine"))
    client = triune.Client("http://service.example")
    object.__setattr__(client._exchange, "sender", fake.sender())
    for ask, words in ((client.classify, "plain has no class head"), (client.segment, "plain has no mask head")):
        with pytest.raises(InputError, match=words):
            ask(pictures[0])
    assert {each.url.path for each in fake.asked} == {"/about"}


@pytest.mark.parametrize("answer", [said(), httpx.Response(200, json={"status": "up"}), said(name=1, limits={})])
def test_another_service_that_speaks_json_is_told_as_such_and_is_not_ready(pictures, answer):
    client = triune.Client("http://service.example")
    object.__setattr__(client._exchange, "sender", Faked(answer).sender())
    assert not client.ready()
    for ask in (lambda: client.dim, lambda: client.metric, lambda: client.classes, lambda: client.fingerprint):
        with pytest.raises(InputError, match="does not understand"):
            ask()
    for asked in (client.classify, client.segment, client.embed):
        with pytest.raises(InputError, match="does not understand"):
            asked(pictures[0])


def test_an_image_of_an_odd_name_is_blamed_by_the_name_that_it_has_here(client, pictures, tmp_path):
    for name in ("line\nbreak.png", 'quo"ted.png', "back\\slash.png", " blank.png"):
        broken = tmp_path / name
        broken.write_bytes(pictures[0].read_bytes()[:100])
        (told,) = client.verify_pairs([(pictures[0], broken)], skip=True)
        assert told == client.predict([pictures[0], broken], skip=True)[1]
        assert told.name == str(broken)
        assert "cannot be read" not in told.reason
        assert "png" not in told.reason


@pytest.mark.parametrize("skip", [True, False])
def test_pairs_of_sound_images_are_not_called_unreadable_where_the_service_is_away(pictures, skip):
    with pytest.raises(InputError, match="cannot be reached"):
        triune.Client("http://127.0.0.1:9", retries=0).verify_pairs([pictures[:2]], skip=skip)


def test_a_service_that_is_not_there_is_not_ready_and_told_as_such():
    client = triune.Client("http://127.0.0.1:9", retries=0)
    assert not client.ready()
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        client.embed(Image.new("RGB", (4, 4)))


def test_neither_torch_nor_timm_is_imported_for_any_of_it(service, pictures):
    code = (
        "import sys, triune\n"
        "url, a, b = sys.argv[1:]\n"
        "with triune.Client(url) as client:\n"
        "    client.embed([a, b]), client.predict(a), client.verify(a, b), client.verify_pairs([(a, b)])\n"
        "    client.search([a], k=2), client.search(like=a, unlike=b), client.identify(a), client.segment(a)\n"
        "    client.undo(client.enrol([a], 'Ada'))\n"
        "    try: client.embed('gone')\n"
        "    except triune.InputError: pass\n"
        "print([m for m in ('torch', 'timm', 'numba') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, service, *map(str, pictures[:2])], capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr
