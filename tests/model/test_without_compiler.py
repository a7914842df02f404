"""What is imported without torch's compiler has it as soon as it is asked for."""

import subprocess
import sys

import torch

from triune.model.without_compiler import without_compiler

BEFORE = "import sys, torch\nfrom triune.model.without_compiler import without_compiler\n"


def said(code):
    """What a process of its own prints, into which nothing has been imported yet."""
    done = subprocess.run([sys.executable, "-c", BEFORE + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_timm_and_torchvision_are_imported_without_the_compiler():
    assert said("""
with without_compiler():
    import timm, torchvision
print(any(name.startswith(("torch._dynamo", "torch._inductor")) for name in sys.modules))
""") == ["False"]


def test_the_compiler_itself_is_there_afterwards():
    assert said("""
with without_compiler():
    import timm
    from torchvision.ops.roi_align import is_compile_supported
    from timm.models import naflexvit
print("torch._dynamo" in sys.modules)
import torch._dynamo
from torch._dynamo.utils import is_compile_supported as own
print(is_compile_supported is not own, all(is_compile_supported(each) == own(each) for each in ("cpu", "cuda", "meta")))
print(torch._dynamo.__spec__ is not None, torch._dynamo.utils.__spec__ is not None)
compiled = torch.compile(lambda x: x * 2 + 1, backend="eager", fullgraph=True)
print(float(compiled(torch.tensor(3.0))))
""") == ["False", "True", "True", "True", "True", "7.0"]


def test_what_was_marked_as_not_to_be_compiled_is_not():
    assert said("""
seen = []
with without_compiler():
    @torch.compiler.disable
    def marked(x):
        seen.append(torch.compiler.is_compiling())
        return x + 1
    @torch.compiler.disable(recursive=False)
    def marked_with_options(x):
        seen.append(torch.compiler.is_compiling())
        return x * 2
print("torch._dynamo" in sys.modules, marked.__name__)
print(float(torch.compile(lambda x: marked_with_options(marked(x * 3)), backend="eager")(torch.tensor(2.0))), *seen)
""") == ["False", "marked", "14.0", "False", "False"]


def test_what_the_stand_in_does_not_know_is_asked_of_the_compiler():
    assert said("""
with without_compiler():
    import torch._dynamo
    print(hasattr(torch._dynamo, "__file__"))  # those of Python itself are asked of every module
    print(callable(torch._dynamo.explain), "torch._dynamo.symbolic_convert" in sys.modules)
print(callable(torch._dynamo.explain))
""") == ["False", "True", "True", "True"]


def test_an_error_within_leaves_no_stand_in():
    assert said("""
try:
    with without_compiler():
        raise ImportError
except ImportError:
    print("torch._dynamo" in sys.modules, "torch._dynamo.utils" in sys.modules)
""") == ["False", "False"]


def test_a_compiler_that_is_there_stays():
    import torch._dynamo

    with without_compiler():
        assert sys.modules["torch._dynamo"] is torch._dynamo
    assert sys.modules["torch._dynamo"] is torch._dynamo


def test_torch_says_whether_it_compiles():
    assert not torch.compiler.is_compiling()  # what the test of marked functions rests on
