"""What the sources share: files written once and whole."""

import os
import subprocess
import sys

import pytest

from triune.data.sources import digits as digits_module
from triune.data.sources.digits import digits


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_files_are_written_once_and_whole(cache, tmp_path, monkeypatch):
    before = digits(cache).frame["image"][0]
    stamp = os.stat(before).st_mtime_ns
    assert digits(cache).frame["image"][0] == before
    assert os.stat(before).st_mtime_ns == stamp

    saved = 0

    def save_a_few(pixels, path):
        nonlocal saved
        saved += 1
        if saved > 10:
            raise KeyboardInterrupt
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")

    with monkeypatch.context() as patch:
        patch.setattr(digits_module, "save_png", save_a_few)
        with pytest.raises(KeyboardInterrupt):
            digits(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(digits(tmp_path).frame) == 2000


def test_two_processes_may_ask_at_once(tmp_path):
    code = "import sys; from pathlib import Path; from triune.data.sources.digits import digits; "
    code += "print(len(digits(Path(sys.argv[1])).frame))"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in running] == ["2000", "2000"]
    assert [path.name for path in tmp_path.iterdir()] == ["digits-4"]
