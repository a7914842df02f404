import subprocess
import sys
from pathlib import Path

import pytest

import triune


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, triune; print([m for m in ('torch', 'numpy', 'numba', 'timm') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", triune.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(triune, name)
    assert name in dir(triune)
    assert name == "__version__" or (value.__doc__ or "").strip()


def test_every_home_is_public_and_every_public_name_has_a_home():
    assert set(triune._HOMES) == set(triune.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'triplet_lose'"):
        _ = triune.triplet_lose


def test_no_public_name_is_also_a_module():
    """A module that is imported becomes an attribute of its package, and would take the name's place."""
    folder = Path(triune.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert modules.isdisjoint(set(triune.__all__) - {"__version__"})
