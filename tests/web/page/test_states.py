"""Loading, refusals in the server's words, a server that is gone and comes back, a full queue, the token."""

from typing import Any

from web.page.stub import ABOUT, Answer


def two(page: Any, pictures: list[Any]) -> None:
    page.set_input_files("#compare-places .drop:nth-child(1) input", pictures[0])
    page.set_input_files("#compare-places .drop:nth-child(2) input", pictures[1])


def test_a_refusal_is_shown_in_the_servers_words_and_can_be_tried_again(tab, stub, pictures) -> None:
    good = stub.answers["/verify"]
    stub.answers["/verify"] = lambda _: Answer(422, {"error": "red.png: <b>not</b> an image"})
    opened = tab()
    page = opened.open("compare")
    two(page, pictures)
    page.wait_for_selector("[role=alert]:has-text('red.png: <b>not</b> an image.')")
    opened.shown("refused")
    assert page.inner_text("#compare-state [role=alert]").startswith("red.png")  # a name is not written in capitals
    assert not page.is_visible("#compare-answer")
    stub.answers["/verify"] = good
    page.click("text=Try again")
    page.wait_for_selector("#compare-answer:not([hidden])")
    assert page.locator("#compare-state").inner_text() == ""


def test_an_answer_that_is_no_json_is_told_by_its_status(tab, stub, pictures) -> None:
    stub.answers["/verify"] = lambda _: Answer(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"})
    page = tab().open("compare")
    two(page, pictures)
    page.wait_for_selector("[role=alert]:has-text('The server answers 502 Bad Gateway.')")


def test_a_full_queue_is_waited_for_as_the_server_asks(tab, stub, pictures) -> None:
    good, times = stub.answers["/verify"], iter((503, 503))
    stub.answers["/verify"] = lambda asked: (
        Answer(503, {"error": "busy"}, {"Retry-After": "0"}) if next(times, None) else good(asked)
    )
    page = tab().open("compare")
    two(page, pictures)
    page.wait_for_selector("#compare-answer:not([hidden])")
    assert stub.count("/verify") == 3


def test_a_picture_above_the_servers_limit_is_refused_before_it_is_sent(tab, stub, pictures, tmp_path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(2_500_000))
    page = tab().open("compare")
    two(page, [tmp_path / "large.png", pictures[1]])
    page.wait_for_selector("[role=alert]:has-text('large.png has 2.38 MiB; pictures of up to 2 MiB are taken here.')")
    assert stub.count("/verify") == 0


def test_a_server_that_is_gone_is_said_and_the_page_goes_on_when_it_is_back(tab, stub, pictures) -> None:
    opened = tab()
    page = opened.open("compare")
    stub.gone = True
    two(page, pictures)
    page.wait_for_selector("#gone:not([hidden])")
    page.wait_for_selector("[role=alert]:has-text('The server does not answer.')")
    opened.shown("gone")
    stub.gone = False
    page.wait_for_selector("#compare-answer:not([hidden])")  # of itself
    assert not page.is_visible("#gone")


def test_the_page_begins_anew_where_another_model_answers(tab, stub, pictures) -> None:
    """Else its name, its classes and its thresholds would be those of the one before."""
    page = tab().open("compare")
    two(page, pictures)
    page.wait_for_selector("#compare-answer:not([hidden])")
    stub.gone = True
    two(page, pictures)
    page.wait_for_selector("#gone:not([hidden])")
    stub.answers["/about"] = lambda _: ABOUT | {"name": "runs/another", "fingerprint": "f" * 64}
    stub.gone = False
    page.wait_for_selector("#name:has-text('another')")
    assert not page.is_visible("#compare-answer")
    stub.answers["/about"] = lambda _: ABOUT | {"can": ["embed"], "name": "runs/plain", "fingerprint": "e" * 64}
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as after another tab
    page.wait_for_selector("#name:has-text('plain')")
    page.wait_for_selector("#tab-compare", state="hidden")


def test_the_same_model_is_no_reason_to_begin_anew(tab, stub, pictures) -> None:
    page = tab().open("compare")
    two(page, pictures)
    page.wait_for_selector("#compare-answer:not([hidden])")
    before = stub.count("/about")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_function("document.readyState === 'complete'")
    page.wait_for_timeout(300)
    assert stub.count("/about") == before + 1
    assert page.is_visible("#compare-answer")


def test_while_an_answer_is_waited_for_the_page_says_so_and_a_newer_question_overtakes_it(tab, stub, pictures) -> None:
    import threading

    good, let = stub.answers["/verify"], threading.Event()

    def slow(asked: Any) -> Any:
        if asked.form["second"] == ["blue.png"]:
            let.wait(10)
        return good(asked) | {
            "distance": 0.3 if asked.form["second"] == ["blue.png"] else 0.7,
            "same": asked.form["second"] == ["blue.png"],
        }

    stub.answers["/verify"] = slow
    page = tab().open("compare")
    two(page, pictures)
    page.wait_for_selector("#compare-state[aria-busy=true]:has-text('Comparing')")
    page.set_input_files("#compare-places .drop:nth-child(2) input", pictures[2])
    page.wait_for_selector("#compare-answer:not([hidden])")
    let.set()
    page.wait_for_timeout(100)
    assert page.inner_text("#compare-word") == "different things"


def test_the_token_is_asked_for_once_kept_for_the_tab_and_a_wrong_one_is_told(tab, stub, pictures) -> None:
    stub.token = "a token of sixteen or more".replace(" ", "-")
    opened = tab()
    page = opened.page
    page.goto(stub.url)
    page.wait_for_selector("#token[open]")
    opened.shown("token")
    page.fill("#token-value", "not it")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The server does not know that token.")
    page.fill("#token-value", stub.token)
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-ready]")
    two(page, pictures)
    page.wait_for_selector("#compare-answer:not([hidden])")
    assert page.evaluate("Object.values(sessionStorage)") == [stub.token]
    assert page.evaluate("localStorage.length + document.cookie.length") == 0
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert not page.is_visible("#token")


def test_whoever_has_no_token_is_told_and_may_try_again(tab, stub) -> None:
    stub.token = "another-token-of-sixteen"
    page = tab().page
    page.goto(stub.url)
    page.wait_for_selector("#token[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("[role=alert]:has-text('The service wants a token')")
    page.click("text=Try again")
    page.wait_for_selector("#token[open]")


def test_a_page_that_cannot_reach_its_server_starts_as_soon_as_it_can(tab, stub) -> None:
    stub.answers["/about"] = lambda _: Answer(503, {"error": "the model is being loaded"}, {"Retry-After": "0"})
    page = tab().page
    page.goto(stub.url)
    page.wait_for_selector("[role=alert]:has-text('the model is being loaded.')")
    stub.answers["/about"] = lambda _: ABOUT
    page.click("text=Try again")
    page.wait_for_selector("body[data-ready]")
