"""The server as a process: it says where it is, answers as the run in Python does, and ends in order."""

import base64
import signal
import threading
import time
import uuid
from pathlib import Path

import httpx
import polars as pl
import pytest

import triune
from web.conftest import files, indexed, running


def test_a_verdict_is_that_of_the_run_in_python(http, served_run, pictures):
    first, second = pictures[0], pictures[7]
    answer = http.post("/verify", files=[*files(first, field="first"), *files(second, field="second")])
    here = triune.load(served_run, device="cpu").verify(first, second).to_dict()
    assert answer.status_code == 200
    unfamiliar = [Path(name).name for name in here["unfamiliar"]]
    assert answer.json() == here | {"first": first.name, "second": second.name, "unfamiliar": unfamiliar}


def test_images_in_json_are_answered_alike(http, pictures):
    sent = {key: base64.b64encode(path.read_bytes()).decode() for key, path in zip(("first", "second"), pictures)}
    form = http.post("/verify", files=[*files(pictures[0], field="first"), *files(pictures[1], field="second")]).json()
    called = {pictures[0].name: "image 0", pictures[1].name: "image 1"}
    named = {"first": "image 0", "second": "image 1", "unfamiliar": [called[name] for name in form["unfamiliar"]]}
    assert http.post("/verify", json=sent).json() == form | named


def enrolling(url, pictures, answered, keys):
    """Enrol two pictures at a time until the server is gone; keys of all requests, and of those that were answered."""
    with httpx.Client(base_url=url, timeout=30) as client:
        while True:
            key = uuid.uuid4().hex
            keys.append(key)
            try:
                answer = client.post("/enrol", files=files(*pictures[:2]), data={"identity": "Ada", "key": key})
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                answered.append(key)


def killed_during_enrolments(served_run, place, folder, pictures, after):
    """Serve, enrol from two sides, kill the server after so many answers; keys of the answered, and of all."""
    answered, keys = [], []
    with running(folder, served_run, "--gallery", place) as found:
        sides = [threading.Thread(target=enrolling, args=(found.url, pictures, answered, keys)) for _ in range(2)]
        for each in sides:
            each.start()
        while len(answered) < after:
            time.sleep(0.01)
        found.process.kill()
        for each in sides:
            each.join(60)
    return answered, keys


def check_enrolled(place, answered, keys):
    """Every enrolment that was answered is there; of no other a part."""
    rows = triune.Gallery.open(place).rows().filter(pl.col("enrolment").is_not_null())
    counts = dict(rows.group_by("enrolment").len().iter_rows())
    assert set(answered) <= set(counts) <= set(keys)
    assert set(counts.values()) == {2}


def test_killed_during_enrolments_and_asked_to_end_during_a_request(served_run, tmp_path, pictures):
    """All that was answered is there after each kill; who is under way when a signal comes is answered."""
    place = indexed(served_run, tmp_path / "G")
    answered, keys = [], []
    for after in (2, 7):
        for known, more in zip(
            (answered, keys), killed_during_enrolments(served_run, place, tmp_path, pictures, after)
        ):
            known += more
        check_enrolled(place, answered, keys)
    whole = httpx.Request("POST", "http://localhost/embed", files=files(*pictures))
    body, headers = whole.read(), {"content-type": whole.headers["content-type"]}
    sent, answers = threading.Event(), []

    def slowly():
        yield body[: len(body) // 2]
        sent.set()
        time.sleep(1)
        yield body[len(body) // 2 :]

    with running(tmp_path, served_run, "--gallery", place, "--log_requests") as found:
        listed = httpx.get(f"{found.url}/enrol", timeout=60).json()["enrolments"]
        assert set(answered) <= {each["enrolment"] for each in listed}
        url = f"{found.url}/embed"
        asked = threading.Thread(
            target=lambda: answers.append(httpx.post(url, content=slowly(), headers=headers, timeout=60))
        )
        asked.start()
        sent.wait(60)
        found.process.send_signal(signal.SIGTERM)
        asked.join(60)
        assert found.process.wait(60) == 128 + signal.SIGTERM
    assert [each.status_code for each in answers] == [200]
    assert len(answers[0].json()["embeddings"]) == len(pictures)
    told = found.log.read_text()
    assert '"POST /embed HTTP/1.1" 200' in told
    assert told.endswith("triune: terminated\n")
    assert not any(each.name in told for each in pictures)


@pytest.mark.slow
def test_killed_twenty_times_during_enrolments(served_run, tmp_path, pictures):
    place = indexed(served_run, tmp_path / "G")
    answered, keys = [], []
    for kill in range(20):
        more = killed_during_enrolments(served_run, place, tmp_path, pictures, after=1 + kill % 7)
        answered, keys = answered + more[0], keys + more[1]
        check_enrolled(place, answered, keys)
