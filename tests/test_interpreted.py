"""A run of the kernels' tests under the interpreter counts only if the tests ran."""

import pytest

from interpreted import assert_passes_interpreted


def written(folder, *tests):
    path = folder / "test_some_kernel.py"
    path.write_text("import os\nimport pytest\n\n" + "\n\n".join(tests) + "\n")
    return str(path)


RUNS = "def test_runs():\n    assert os.environ['TRITON_INTERPRET'] == '1'"
FAILS = "def test_fails():\n    assert 1 + 1 == 3"
LEFT_OUT = "@pytest.mark.skip(reason='no kernel here')\ndef test_left_out():\n    pass"


def test_a_file_whose_tests_ran_passes(tmp_path):
    assert_passes_interpreted(written(tmp_path, RUNS, LEFT_OUT), skipped=1)


def test_a_file_that_skips_every_test_fails_and_says_why(tmp_path):
    with pytest.raises(AssertionError, match=r"not one test of .* ran(?s:.*)test_left_out: no kernel here"):
        assert_passes_interpreted(written(tmp_path, LEFT_OUT), skipped=1)


@pytest.mark.parametrize("expected", [0, 2])
def test_another_number_of_skipped_tests_than_expected_fails(tmp_path, expected):
    with pytest.raises(AssertionError, match=f"1 tests were skipped, not {expected}"):
        assert_passes_interpreted(written(tmp_path, RUNS, LEFT_OUT), skipped=expected)


def test_a_failing_test_fails_the_run(tmp_path):
    with pytest.raises(AssertionError, match="test_fails"):
        assert_passes_interpreted(written(tmp_path, RUNS, FAILS), skipped=0)


def test_a_file_without_tests_fails(tmp_path):
    with pytest.raises(AssertionError):
        assert_passes_interpreted(written(tmp_path), skipped=0)
