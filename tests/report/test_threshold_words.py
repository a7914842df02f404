"""Which kind of threshold it is, in one sentence."""

from triune.report.threshold_words import for_new_identities
from triune.verification.decision import ExpectedFPR


def test_a_promise_names_its_confidence_and_what_it_assumes():
    expected = ExpectedFPR(0.012, 0.008, 0.019, 0.95, 150, 9999)
    assert for_new_identities(0.05, expected, 0.9) == (
        "promised with 90% confidence, fitted on 150 identities: at most 5% of the pairs of two new identities of the "
        "same population are accepted; expected are 0.8% to 1.9% (95% interval, delete-one-identity jackknife)"
    )


def test_without_a_promise_the_interval_says_what_others_may_see():
    expected = ExpectedFPR(0.05, 0.0123, 0.1471, 0.8, 8, 9999)
    assert for_new_identities(0.05, expected, None) == (
        "no promise for new identities: fitted on 8 identities, the false-positive rate among others may be 1.2% to "
        "14.7% (80% interval, delete-one-identity jackknife)"
    )


def test_too_few_identities_and_thresholds_of_earlier_versions_say_that_nothing_is_known():
    assert for_new_identities(0.01, ExpectedFPR(0.01, 0.0, 1.0, 0.95, 2, 9), None) == (
        "no promise for new identities: fitted on 2 identities, too few to say anything of others"
    )
    assert (
        for_new_identities(0.01, None, None)
        == "no promise for new identities: their false-positive rate may be above 1%"
    )
