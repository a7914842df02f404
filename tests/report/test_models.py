"""Which figures of which model the page shows, and how it calls what was judged."""

from report.building import changed, files_results, run_results
from triune.evaluation.results import Unavailable
from triune.report.models import item_of, judged_model, judged_models, pairs_of, these_pairs


def test_the_judged_model_comes_first_wherever_it_stands() -> None:
    results = run_results()
    turned = results.model_copy(update={"models": results.models[::-1]})
    assert [judged.model.role for judged in judged_models(turned)] == ["model", "pixels"]


def test_a_model_without_figures_is_left_out() -> None:
    nothing = changed(run_results(), {"verification": {"test": Unavailable(unavailable="one image each")}})
    assert judged_model(nothing) is None
    assert [judged.model.role for judged in judged_models(nothing)] == ["pixels"]


def test_only_what_has_splits_is_called_after_them() -> None:
    run, files = run_results().data, files_results().data
    assert (pairs_of(run, "val"), pairs_of(files, "test")) == ("validation pairs", "pairs")
    assert (item_of(run, "test"), item_of(files, "test")) == ("test image", "item")
    assert (these_pairs(run), these_pairs(files)) == ("test pairs", "these pairs")
