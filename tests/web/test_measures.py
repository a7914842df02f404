"""What the service counts: by route, not by what strangers make up; each worker for itself."""

from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from triune.web.measures import Measured, Measures
from web.conftest import finished

SERVED = SimpleNamespace(batches=SimpleNamespace(waiting=3), held=SimpleNamespace(now=1234))


def samples(measures):
    families = text_string_to_metric_families(measures.text(SERVED).decode())
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


def test_batches_and_what_waits_are_counted():
    measures = Measures()
    measures.batch(5, 0.25)
    measures.batch(3, 0.5)
    found = samples(measures)
    assert found["triune_batch_images_sum", ()] == 8
    assert found["triune_batch_images_count", ()] == 2
    assert found["triune_network_seconds_total", ()] == 0.75
    assert found["triune_waiting_images", ()] == 3
    assert found["triune_body_bytes", ()] == 1234


def test_workers_are_told_apart():
    one, other = Measures("17"), Measures("18")
    one.batch(1, 0.0)
    assert samples(one)["triune_batch_images_count", (("worker", "17"),)] == 1
    assert ("triune_batch_images_count", (("worker", "18"),)) not in samples(other)


@pytest.mark.parametrize(
    ("scope", "route"), [({"route": SimpleNamespace(path="/enrol/{key}")}, "/enrol/{key}"), ({}, "other")]
)
def test_a_request_is_counted_by_its_route(scope, route):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 418, "headers": []})

    async def send(message):
        pass

    measures = Measures()
    asked = {"type": "http", "method": "BREW", "path": "/enrol/secret"} | scope
    finished(Measured(app, measures)(asked, None, send))
    labels = (("method", "other"), ("route", route), ("status", "418"))
    assert samples(measures)["triune_requests_total", labels] == 1
    assert samples(measures)["triune_request_seconds_count", (("route", route),)] == 1


def test_a_request_that_fails_is_counted_as_500():
    async def app(scope, receive, send):
        raise RuntimeError

    measures = Measures()
    with pytest.raises(RuntimeError):
        finished(Measured(app, measures)({"type": "http", "method": "GET", "path": "/"}, None, None))
    assert samples(measures)["triune_requests_total", (("method", "GET"), ("route", "other"), ("status", "500"))] == 1
