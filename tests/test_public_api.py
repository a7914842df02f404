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


@pytest.mark.parametrize("name", triune.losses.__all__)
def test_every_loss_is_there_by_importing_triune_alone_and_documented(name):
    value = getattr(triune.losses, name)
    assert (value.__doc__ or "").strip()


def test_every_loss_of_the_command_line_is_public():
    for kind in (*triune.losses.PAIR_LOSSES.values(), *triune.losses.PROXY_LOSSES.values()):
        assert getattr(triune.losses, kind.__name__) is kind


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="triplet_lose"):
        _ = triune.triplet_lose


def test_no_public_name_is_also_a_module():
    """A module that is imported becomes an attribute of its package, and would take the name's place."""
    for package, namespaces in ((triune, {"losses", "metrics", "plots"}), (triune.losses, set())):
        folder = Path(package.__file__).parent
        modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
        assert modules & set(package.__all__) == namespaces
