"""Routes of the gallery: their answers are those of the Python object; what is enrolled is undone again."""

import base64
import math
from contextlib import contextmanager

import pytest

import triune
from triune.web.served import Content
from web.conftest import asking, error_of, files, indexed


@pytest.fixture(scope="module")
def place(served_run, tmp_path_factory):
    return indexed(served_run, tmp_path_factory.mktemp("routes") / "G")


@pytest.fixture(scope="module")
def client(place, loaded):
    with asking(Content(loaded, triune.Gallery.open(place, loaded))) as found:
        yield found


@pytest.fixture(scope="module")
def gallery(place, loaded):
    return triune.Gallery.open(place, loaded)


@contextmanager
def enrolled(client, *paths, **fields):
    answer = client.post("/enrol", files=files(*paths), data=fields)
    assert answer.status_code == 200, answer.text
    yield answer.json()
    client.delete(f"/enrol/{answer.json()['enrolment']}")


def plain(answer):
    """Hits without what the service adds."""
    return [
        {name: each for name, each in hit.items() if name not in ("thumbnail", "duplicate_of")}
        for result in answer["results"]
        for hit in result["hits"]
    ]


def test_hits_are_those_of_the_gallery_in_python(client, gallery, pictures):
    sent = {"k": "4", "where": "label = 'odd'", "diversity": "0.3"}
    answer = client.post("/search", files=files(pictures[4]), data=sent).json()
    (here,) = gallery.search([str(pictures[4])], k=4, where="label = 'odd'", diversity=0.3)
    assert plain(answer) == [hit.to_dict() for hit in here.hits]
    assert answer["results"][0]["query"] == pictures[4].name


def test_likes_and_dislikes_are_one_answer(client, gallery, pictures, loaded):
    sent = [*files(pictures[3], pictures[4], field="like"), *files(pictures[10], field="unlike")]
    answer = client.post("/search", files=sent, data={"k": "3"}).json()
    x = loaded.embed([pictures[3], pictures[4], pictures[10]])
    (here,) = gallery.search(like=x[:2], unlike=x[2:], k=3)
    assert plain(answer) == [hit.to_dict() for hit in here.hits]
    assert answer["results"][0]["query"] == f"like {pictures[3].name}, {pictures[4].name}; unlike {pictures[10].name}"


def test_the_same_in_json(client, pictures):
    text = base64.b64encode(pictures[4].read_bytes()).decode()
    form = client.post("/search", files=files(pictures[4]), data={"k": "2"}).json()
    assert plain(client.post("/search", json={"images": [text], "k": 2}).json()) == plain(form)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "one of the two"),
        ({"unlike": 1}, "one of the two"),
        ({"images": 1, "like": 1}, "one of the two"),
        ({"images": 1, "unlike": 1}, "unlike needs like"),
    ],
)
def test_what_is_searched_for_is_either_images_or_likes(client, pictures, fields, said):
    sent = [each for name in fields for each in files(pictures[0], field=name)]
    answer = client.post("/search", files=sent or [("k", (None, "1"))])
    assert said in error_of(answer, 422)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("label = ", "is no condition"),
        ("nothing = 1", "nothing"),
        ("label = 'odd'; DROP TABLE items", "is no condition"),
        ("SELECT * FROM read_csv('/etc/passwd')", "is no condition"),
        ("label = 'odd' -- and more", "comment"),
        ("x" * 2001, "where"),
    ],
)
def test_a_condition_that_is_none_is_422(client, pictures, where, said, place):
    told = error_of(client.post("/search", files=files(pictures[0]), data={"where": where}), 422)
    assert said in told
    assert str(place.parent) not in told  # where the gallery lies is nobody else's business


@pytest.mark.parametrize("fields", [{"k": "0"}, {"k": "x"}, {"k": "1001"}, {"diversity": "2"}, {"diversity": "nan"}])
def test_values_that_are_none_are_422(client, pictures, fields):
    error_of(client.post("/search", files=files(pictures[0]), data=fields), 422)


def test_who_it_is_is_what_the_gallery_in_python_says(client, gallery, pictures):
    answer = client.post("/identify", files=files(pictures[0], pictures[10]), data={"fpir": "0.4"}).json()
    here = gallery.identify([str(pictures[0]), str(pictures[10])], 0.4)
    for told, each in zip(answer["identifications"], here, strict=True):
        expected = each.to_dict(with_rule=False)
        assert told["identity"] == expected["identity"]
        assert told["score"] == pytest.approx(expected["score"], abs=1e-6)
    assert [each["query"] for each in answer["identifications"]] == [pictures[0].name, pictures[10].name]
    rule = here[0].rule.to_dict()
    assert answer["rule"]["enrolled_identities"] == rule["enrolled_identities"] == 3
    assert float(answer["rule"]["threshold"]) == pytest.approx(rule["threshold"])


def test_a_rule_that_names_nobody_is_sent_as_words(client, pictures):
    answer = client.post("/identify", files=files(pictures[0]), data={"fpir": "0.0001"})
    assert answer.status_code == 200
    assert not math.isnan(float(answer.json()["rule"]["threshold"]))


def test_who_is_enrolled_is_found_until_it_is_undone(client, pictures):
    before = client.get("/about").json()["gallery"]["count"]
    with enrolled(client, pictures[3], pictures[4], identity="Ada", label="person") as made:
        assert made["identity"] == "Ada"
        assert made["count"] == before + 2
        (listed,) = client.get("/enrol").json()["enrolments"]
        assert (listed["enrolment"], listed["identity"], listed["images"]) == (made["enrolment"], "Ada", 2)
        assert listed["time"].endswith("Z")
        hit = client.post("/search", files=files(pictures[3]), data={"k": "1"}).json()["results"][0]["hits"][0]
        assert (hit["image"], hit["identity"], hit["label"]) == (made["images"][0], "Ada", "person")
        assert hit["columns"]["enrolment"] == made["enrolment"]
        picture = client.get(hit["thumbnail"])
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content[:2] == b"\xff\xd8"
    assert client.get("/enrol").json()["enrolments"] == []
    assert client.get("/about").json()["gallery"]["count"] == before
    assert "GET /enrol" in error_of(client.delete(f"/enrol/{made['enrolment']}"), 404)


def test_a_request_that_is_sent_again_with_its_key_is_done_once(client, pictures):
    with enrolled(client, pictures[3], identity="Ada", key="the-same-key") as first:
        again = client.post("/enrol", files=files(pictures[3]), data={"identity": "Ada", "key": "the-same-key"})
        assert again.json() == first
        other = client.post("/enrol", files=files(pictures[3]), data={"identity": "Bob", "key": "the-same-key"})
        assert "'Ada' already" in error_of(other, 409)
        other = client.post("/enrol", files=files(pictures[4]), data={"identity": "Ada", "key": "the-same-key"})
        assert "of other images already" in error_of(other, 409)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "../../etc/passwd", "O'Brien\"; --", "名前"])
def test_a_name_of_any_letters_is_stored_as_it_is(client, pictures, name):
    with enrolled(client, pictures[3], identity=name):
        assert client.get("/enrol").json()["enrolments"][0]["identity"] == name
        assert client.get("/enrol").headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "fields", [{}, {"identity": ""}, {"identity": " "}, {"identity": "a\x00b"}, {"identity": "x" * 201},
               {"identity": "Ada", "label": "\n"}, {"identity": "Ada", "key": "../../x"}]
)  # fmt: skip
def test_a_name_that_is_none_is_422_and_nothing_is_stored(client, pictures, fields):
    error_of(client.post("/enrol", files=files(pictures[0]), data=fields), 422)
    assert client.get("/enrol").json()["enrolments"] == []


def test_of_images_one_of_which_is_none_nothing_is_enrolled(client, pictures):
    sent = [*files(pictures[0]), ("images", ("no.png", b"none", "image/png"))]
    error_of(client.post("/enrol", files=sent, data={"identity": "Ada"}), 422)
    assert client.get("/enrol").json()["enrolments"] == []


def test_nothing_that_is_sent_lies_anywhere_but_what_is_enrolled(client, pictures, place):
    marked = pictures[0].read_bytes() + b"this-very-upload-and-no-other"

    def lies_somewhere():
        kept = [each for each in place.rglob("*") if each.is_file()]
        return any(b"this-very-upload" in each.read_bytes() for each in kept)

    sent = [("images", ("marked.png", marked, "image/png"))]
    assert client.post("/search", files=sent).status_code == 200
    answer = client.post("/enrol", files=sent, data={"identity": "Ada"}).json()
    assert not lies_somewhere()  # of an enrolled picture the gallery keeps the embedding and a small picture
    client.delete(f"/enrol/{answer['enrolment']}")


def test_about_says_what_the_gallery_holds_and_that_it_can_be_asked(client):
    about = client.get("/about").json()
    assert about["can"] == ["verify", "predict", "embed", "search", "identify", "enrol"]
    assert (about["gallery"]["name"], about["gallery"]["identities"], about["gallery"]["labels"]) == ("G", 3, 2)
    assert about["gallery"]["columns"]["identity"] == "String"


def test_where_nobody_has_a_name_yet_nobody_is_identified_but_may_be_enrolled(loaded, tmp_path, pictures):
    nameless = triune.Gallery.create(tmp_path / "N", loaded, [str(each) for each in pictures[:2]])
    with asking(Content(loaded, nameless)) as client:
        assert client.get("/about").json()["can"][-2:] == ["search", "enrol"]
        assert "says who is on it" in error_of(client.post("/identify", files=files(pictures[0])), 422)
        with enrolled(client, pictures[3], identity="Ada"):
            assert "identify" in client.get("/about").json()["can"]


@pytest.mark.parametrize(
    ("path", "status"), [("99", 404), ("-1", 422), ("x", 422), ("..%2f..%2fetc", 404), ("1e3", 422)]
)
def test_a_row_that_there_is_none_of_has_no_picture(client, path, status):
    error_of(client.get(f"/thumbnail/{path}"), status)
