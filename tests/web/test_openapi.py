"""Whatever the OpenAPI document allows, and much that it does not, is answered as it says, and never by a 5xx."""

import warnings

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

schemathesis = pytest.importorskip("schemathesis")

from web import fuzzed_images  # noqa: E402

SECONDS = 30.0
"""After which a request hangs."""

EXAMPLES = 6
"""Of each operation, good and bad ones each."""


@pytest.fixture(scope="module")
def schema(service):
    assert fuzzed_images.IMAGES is not None  # its strategies are registered by being imported
    return schemathesis.openapi.from_url(f"{service}/openapi.json")


def checks():
    from schemathesis import checks as all_checks

    wanted = (
        "not_a_server_error",
        "status_code_conformance",
        "response_schema_conformance",
        "content_type_conformance",
    )
    return [check for check in all_checks.CHECKS.get_all() if check.__name__ in wanted]


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_every_operation_answers_as_its_document_says(schema, service, mode):
    done, several = set(), checks()
    assert len(several) == 4
    for found in schema.get_all_operations():
        operation = found.ok()

        @seed(0)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=getattr(schemathesis.GenerationMode, mode)))
        def ask(case):
            case.call_and_validate(base_url=service, timeout=SECONDS, checks=several)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ask()
            except schemathesis.errors.InvalidSchema:
                raise
            except Exception as error:
                if type(error).__name__ in ("Unsatisfiable", "SkipTest", "Skipped"):
                    continue  # nothing bad can be sent where nothing is taken
                raise
        done.add(f"{operation.method.upper()} {operation.path}")
    posts = {"POST /verify", "POST /predict", "POST /embed", "POST /search", "POST /identify", "POST /enrol"}
    assert posts <= done
    # What was enrolled meanwhile is taken away, so that others find the gallery as it was.
    with httpx.Client(base_url=service, timeout=SECONDS) as http:
        for each in http.get("/enrol").json()["enrolments"]:
            assert http.delete(f"/enrol/{each['enrolment']}").status_code == 200
        assert http.get("/ready").status_code == 200


def test_the_document_names_every_route_with_an_example_that_is_answered(service):
    """The examples of the document are real requests."""
    with httpx.Client(base_url=service, timeout=SECONDS) as http:
        document = http.get("/openapi.json").json()
        asked = 0
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                content = operation.get("requestBody", {}).get("content", {})
                if "application/json" not in content or path == "/enrol":
                    continue
                example = content["application/json"].get("example")
                assert example is not None, path
                answer = http.request(method, path, json=example)
                assert answer.status_code == 200, f"{path}: {answer.text}"
                asked += 1
        assert asked == 5
