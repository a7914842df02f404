"""What is served behind threads: the Python object answers; too many that wait are refused, and what takes too long."""

import errno
import os
import threading
import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

import triune
from triune.web.limits import Limits
from triune.web.refusals import Refused
from triune.web.served import Content, Served, batches_at_once, without_place
from web.conftest import asking, error_of, files, finished, pair


@dataclass(frozen=True, eq=False)
class Held:
    """A run whose network waits until it is let."""

    run: object
    may: threading.Event
    begun: threading.Event

    def __getattr__(self, name):
        return getattr(self.run, name)

    def answer(self, *given):
        self.begun.set()
        assert self.may.wait(60)
        return self.run.answer(*given)


@pytest.fixture
def held(loaded):
    return Held(loaded, threading.Event(), threading.Event())


def test_a_full_queue_is_503_with_when_to_come_again_and_frees_itself(held, pictures):
    answers = []
    with asking(Content(held), Limits(waiting=2)) as client:
        first = threading.Thread(target=lambda: answers.append(client.post("/embed", files=files(*pictures[:2]))))
        first.start()
        assert held.begun.wait(60)
        refused = client.post("/embed", files=files(pictures[0]))
        assert "2 images wait already" in error_of(refused, 503)
        assert refused.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200  # the event loop does not wait for the network
        held.may.set()
        first.join(60)
        assert [each.status_code for each in answers] == [200]
        assert client.post("/embed", files=files(pictures[0])).status_code == 200
        assert client.app.state.served.batches.waiting == 0


def test_what_takes_too_long_is_503_and_its_places_are_free(held, pictures):
    with asking(Content(held), Limits(seconds=0.2)) as client:
        assert "within 0.2 s" in error_of(client.post("/embed", files=files(pictures[0])), 503)
        held.may.set()
        batches = client.app.state.served.batches
        deadline = time.monotonic() + 60
        while batches.waiting and time.monotonic() < deadline:
            time.sleep(0.01)
        assert batches.waiting == 0
        assert batches.alive


def test_an_image_that_cannot_be_read_frees_the_places_of_the_others(client, pictures):
    sent = [*files(pictures[0]), ("images", ("no.png", b"none", "image/png"))]
    answer = client.post("/embed", files=sent)
    assert "no.png is no image" in error_of(answer, 422)
    assert answer.json()["image"] == 1
    assert client.app.state.served.batches.waiting == 0


def test_a_network_that_fails_is_500_in_one_line_and_goes_on(loaded, pictures, caplog):
    class Failing(Held):
        def answer(self, images, *given):
            if images[0].name == "odd.png":
                raise RuntimeError("CUDA out of memory")
            return self.run.answer(images, *given)

    failing = Failing(loaded, threading.Event(), threading.Event())
    with asking(Content(failing), raise_server_exceptions=False) as client:
        odd = ("images", ("odd.png", pictures[0].read_bytes(), "image/png"))
        assert "its log says where" in error_of(client.post("/embed", files=[odd]), 500)
        assert client.post("/embed", files=files(pictures[0])).status_code == 200


def test_a_rate_without_a_stored_threshold_is_decided_by_a_smaller_one_or_refused(loaded, pictures, client):
    answer = client.post("/verify", files=pair(*pictures[:2]), data={"fpr": "0.08"}).json()
    here = triune.LoadedRun.verify(loaded, *pictures[:2], fpr=0.08)
    assert (answer["asked_fpr"], answer["target_fpr"]) == (here.asked_fpr, here.target_fpr) == (0.08, 0.05)
    assert "holds no threshold for FPR 1e-07" in error_of(
        client.post("/verify", files=pair(*pictures[:2]), data={"fpr": "1e-7"}), 422
    )


def test_without_a_gallery_it_is_said_how_to_have_one(client, pictures):
    for path, fields in (("/search", {}), ("/identify", {}), ("/enrol", {"identity": "Ada"})):
        assert "--gallery" in error_of(client.post(path, files=files(pictures[0]), data=fields), 404)
    assert "--gallery" in error_of(client.get("/enrol"), 404)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "at /srv/secret"), os.strerror(errno.ENOSPC)),
        (OSError("LanceError: /srv/secret"), "the log"),
    ],
)
def test_a_disk_that_fails_is_503_with_its_reason_and_no_path(loaded, error, said):
    served = Served(Content(loaded), Limits())
    served.library = SimpleNamespace(gallery=SimpleNamespace(name="/srv/secret/items"))

    def work(_):
        raise error

    try:
        with pytest.raises(Refused) as refused:
            finished(served.in_gallery(work))
    finally:
        served.close()
    assert refused.value.status == 503
    assert "Retry-After" in refused.value.headers
    assert said in refused.value.reason
    assert "secret" not in refused.value.reason


@pytest.mark.parametrize("place", ["/srv/secret/items", "/srv/secret/items/"])
def test_a_message_tells_a_gallery_by_its_name_alone(place):
    told = "/srv/secret/items is damaged (Not found: srv/secret/items/items.lance)"
    assert without_place(told, place) == "items is damaged (Not found: items/items.lance)"


def test_a_gallery_named_from_here_is_not_told_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert without_place(f"Not found: {str(tmp_path)[1:]}/items/a", "items") == "Not found: items/a"


def test_a_closed_service_has_answered_all(loaded):
    served = Served(Content(loaded), Limits())
    served.close()
    assert not served.batches.alive
    with pytest.raises(Refused, match="--gallery"):
        served.require_gallery()


@pytest.mark.parametrize(
    ("threads", "device", "expected"),
    [
        *[("1", "cpu", 6), ("2", "cpu", 3), ("4", "cpu", 1), ("8", "cpu", 1), ("", "cpu", 1), ("0", "cpu", 1)],
        *[("many", "cpu", 1), ("1", "cuda", 1), ("1", "cuda:1", 1)],
    ],
)
def test_batches_at_a_time_are_those_that_the_processors_have_room_for(monkeypatch, threads, device, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert batches_at_once(device) == expected


def test_workers_share_the_processors(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert [batches_at_once("cpu", workers) for workers in (1, 2, 3, 6, 12)] == [6, 3, 2, 1, 1]
