"""Class accuracy and confusions."""

import numpy as np

from report.building import run_results, shown
from triune.evaluation.results import ClassResult, Results, Unavailable
from triune.report.sections.classes import LISTED, MATRIX_CLASSES, classes_section


def with_classes(count: int, confusion: np.ndarray) -> Results:
    """The results with another confusion matrix of as many classes."""
    found = ClassResult(
        split="test",
        items=int(confusion.sum()),
        accuracy=0.5,
        classes=[f"class {i}" for i in range(count)],
        confusion=confusion.tolist(),
    )
    return run_results().model_copy(update={"classification": found})


def test_the_matrix_has_the_true_class_by_row() -> None:
    page = shown(run_results())
    assert page.table("Confusion matrix: true class by row") == [
        ["true ↓ predicted →", "4", "5", "6"],
        ["4", "3", "·", "·"],
        ["5", "1", "2", "·"],
        ["6", "·", "1", "2"],
    ]
    section = classes_section(run_results())
    assert section is not None
    assert [[cell.right for cell in cells] for _, cells in section.matrix] == np.eye(3, dtype=bool).tolist()
    assert [cell.share for cell in section.matrix[1][1]] == [1 / 3, 2 / 3, 0]


def test_accuracy_is_said_with_the_split_it_is_of() -> None:
    assert "77.8% of 9 holdout images are put in the right class. These are images of trained identities" in shown(
        run_results()
    ).said("classes")
    said = shown(with_classes(2, np.eye(2, dtype=int))).said("classes")
    assert "50.0% of 2 test images are put in the right class." in said
    assert "trained identities" not in said


def test_a_class_without_images_has_an_empty_row() -> None:
    section = classes_section(with_classes(2, np.array([[0, 0], [1, 3]])))
    assert section is not None
    assert [cell.share for cell in section.matrix[0][1]] == [0, 0]


def test_of_many_classes_the_most_frequent_confusions_are_listed() -> None:
    count = MATRIX_CLASSES + 1
    confusion = 100 * np.eye(count, dtype=int)
    confusion[3, 7], confusion[7, 3] = 5, 9
    rows = shown(with_classes(count, confusion)).table("The most frequent confusions")
    assert rows == [["true class", "taken for", "times"], ["class 7", "class 3", "9"], ["class 3", "class 7", "5"]]
    section = classes_section(with_classes(count, np.ones((count, count), dtype=int)))
    assert section is not None
    assert (section.matrix, len(section.confused)) == ([], LISTED)


def test_up_to_24_classes_have_a_matrix_and_more_have_their_12_worst_confusions() -> None:
    for count, rows, listed in ((24, 24, 0), (25, 0, 12)):
        section = classes_section(with_classes(count, np.ones((count, count), dtype=int)))
        assert section is not None
        assert (len(section.matrix), len(section.confused)) == (rows, listed)


def test_a_class_of_one_image_is_right_or_wrong() -> None:
    section = classes_section(with_classes(2, np.array([[1, 0], [1, 0]])))
    assert section is not None
    assert [[cell.share for cell in cells] for _, cells in section.matrix] == [[1, 0], [1, 0]]


def test_classes_that_were_not_judged_say_why_or_nothing() -> None:
    why = run_results().model_copy(update={"classification": Unavailable(unavailable="no class was trained")})
    assert "Not measured: no class was trained." in shown(why).said("classes")
    assert classes_section(run_results().model_copy(update={"classification": None})) is None
