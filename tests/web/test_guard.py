"""Who may ask: names that the service is called by, pages of other sites, tokens."""

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from triune.web.guard import HEADERS, Access, Guard, is_loopback
from web.conftest import error_of

TOKEN = "correct-horse-battery"


def guarded(access, host="http://127.0.0.1:8000"):
    async def answer(request):
        return JSONResponse({"asked": request.url.path})

    paths = ("/", "/page/app.js", "/health", "/ready", "/about", "/enrol", "/pages", "/openapi.json", "/metrics")
    routes = [Route(path, answer, methods=["GET", "POST", "DELETE"]) for path in paths]
    return TestClient(Guard(Starlette(routes=routes), access), base_url=host)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:9", "LOCALHOST"])
def test_without_a_token_it_is_called_by_names_of_this_machine(host):
    assert guarded(Access()).get("/about", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.io", ""])
def test_a_foreign_name_that_points_here_is_refused(host):
    """DNS rebinding: a page has its own name lead to this machine, so that the browser takes both for one site."""
    for path in ("/about", "/"):
        assert "--hosts" in error_of(guarded(Access()).get(path, headers={"host": host}), 403)


def test_a_name_that_was_allowed_may_be_used_and_with_a_token_any_may():
    assert guarded(Access(hosts=("Box.Local",))).get("/about", headers={"host": "box.local:80"}).status_code == 200
    asked = {"host": "example.org", "authorization": f"Bearer {TOKEN}"}
    assert guarded(Access(TOKEN)).get("/about", headers=asked).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:8001", "https://localhost:8000"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "GET"])
def test_a_page_of_another_site_can_neither_ask_nor_enrol(origin, method):
    answer = guarded(Access()).request(method, "/enrol", headers={"origin": origin})
    assert "another site" in error_of(answer, 403)
    assert "access-control-allow-origin" not in answer.headers


def test_its_own_page_may():
    own = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert guarded(Access()).post("/enrol", headers=own).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_says_so_without_an_origin_is_believed(site):
    client = guarded(Access())
    assert client.get("/about", headers={"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}).status_code == 403
    assert client.post("/enrol", headers={"sec-fetch-site": site, "sec-fetch-mode": "navigate"}).status_code == 403
    follows_a_link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=follows_a_link).status_code == 200


def test_a_site_that_was_allowed_may_ask_and_is_told_so():
    client = guarded(Access(origins=("https://shop.example/",)))
    asked = {"origin": "https://shop.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    answer = client.options("/enrol", headers=asked | {"access-control-request-method": "POST"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://shop.example")
    assert "authorization" in answer.headers["access-control-allow-headers"]
    answer = client.post("/enrol", headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://shop.example")
    assert client.post("/enrol", headers={"origin": "https://shop.example.evil"}).status_code == 403


@pytest.mark.parametrize("path", ["/about", "/enrol", "/pages", "/openapi.json", "/metrics", "/nothing"])
def test_a_token_is_needed(path):
    client = guarded(Access(TOKEN))
    answer = client.get(path)
    assert "missing" in error_of(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    for wrong in (f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer \xff"):
        assert client.get(path, headers={"authorization": wrong.encode("latin-1")}).status_code == 401
    assert client.get(path, headers={"authorization": f"bearer {TOKEN}"}).status_code != 401


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/health", "/ready"])
def test_the_page_and_what_tells_whether_it_is_there_need_none(path):
    assert guarded(Access(TOKEN)).get(path).status_code == 200


def test_a_preflight_of_a_site_that_was_not_allowed_learns_nothing():
    answer = guarded(Access(TOKEN)).options("/enrol", headers={"origin": "https://evil.example"})
    assert answer.status_code == 403


def test_every_answer_says_what_a_browser_may_do_with_it():
    for answer in (guarded(Access()).get("/"), guarded(Access(TOKEN)).get("/about")):
        assert {name.lower() for name in HEADERS} <= set(answer.headers)
        assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_the_token_is_no_part_of_what_is_printed():
    assert TOKEN not in repr(Access(TOKEN))


@pytest.mark.parametrize(("host", "alone"), [("127.0.0.1", True), ("127.9.9.9", True), ("0.0.0.0", False)])
def test_which_addresses_only_this_machine_reaches(host, alone):
    assert is_loopback(host) is alone
