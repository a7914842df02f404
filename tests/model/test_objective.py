"""The objective against loops in float64: every term, missing targets, weights, and what has a gradient."""

import math

import pytest
import torch

from oracles import brute_cross_entropy, brute_dice, brute_distance, brute_loss, brute_pixel_entropy, brute_triplets
from triune.losses.memory import CrossBatchMemory
from triune.losses.softmax import NTXentLoss
from triune.losses.triplet import TripletLoss
from triune.model.network import Prediction
from triune.model.objective import MultiTaskObjective, Targets, gradient_norms


def example(masks=1, seed=0):
    g = torch.Generator().manual_seed(seed)
    embedding = torch.nn.functional.normalize(torch.randn(6, 8, generator=g, dtype=torch.float64), dim=1)
    prediction = Prediction(
        torch.randn(6, 3, generator=g, dtype=torch.float64),
        torch.randn(6, masks, 4, 5, generator=g, dtype=torch.float64),
        embedding,
    )
    for part in prediction:
        part.requires_grad_()
    targets = Targets(
        torch.tensor([0, 1, 2, 0, 1, 2]),
        torch.randint(0, 2 if masks == 1 else masks, (6, 4, 5), generator=g),
        torch.tensor([0, 0, 1, 1, 2, 2]),
    )
    return prediction, targets


def test_the_total_is_the_weighted_sum_of_its_terms():
    prediction, targets = example()
    terms = MultiTaskObjective(1.0, 2.0, 5.0)(prediction, targets)
    expected = terms.classification + 2 * terms.segmentation + 5 * terms.triplet
    torch.testing.assert_close(terms.total, expected)
    assert terms.outcome is not None


def oracle(prediction, targets, settings):
    """The three terms in float64 by loops; the triplets by the cube of all."""
    class_logits, mask_logits, embedding = (part.detach().numpy() for part in prediction)
    classification = brute_cross_entropy(class_logits, targets.classes.tolist(), settings.get("label_smoothing", 0.0))
    masks = targets.masks.numpy()
    segmentation = brute_pixel_entropy(mask_logits, masks) + settings.get("dice", 0.0) * brute_dice(mask_logits, masks)
    known = targets.identities.numpy() >= 0
    distances = brute_distance(embedding[known], embedding[known], "euclidean")
    triplets = brute_triplets(distances, targets.identities.numpy()[known], "all")
    return classification, segmentation, brute_loss(distances, triplets)["loss"]


def with_gaps(targets):
    """Items without a class, without an identity, with part of a mask and with none: others for each target."""
    masks = targets.masks.clone()
    masks[0] = 255
    masks[3, 1:3] = 255
    return Targets(torch.tensor([0, -1, 2, -1, 1, 2]), masks, torch.tensor([0, 0, -1, 1, 1, -1]))


@pytest.mark.parametrize("masks", [1, 3])
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize(
    "settings", [{}, {"dice": 0.6}, {"label_smoothing": 0.2}, {"dice": 2.0, "label_smoothing": 0.05}]
)
def test_every_term_and_the_total_are_what_loops_say(masks, gaps, settings):
    prediction, targets = example(masks)
    targets = with_gaps(targets) if gaps else targets
    terms = MultiTaskObjective(0.5, 2.0, 5.0, **settings)(prediction, targets)
    expected = oracle(prediction, targets, settings)
    assert [float(term.detach()) for term in terms[1:4]] == pytest.approx(expected, rel=1e-5)
    assert float(terms.total.detach()) == pytest.approx(0.5 * expected[0] + 2 * expected[1] + 5 * expected[2], rel=1e-5)


@pytest.mark.parametrize("gaps", [False, True])
def test_the_total_under_uncertainty_is_what_loops_say(gaps):
    prediction, targets = example()
    targets = with_gaps(targets) if gaps else targets
    objective = MultiTaskObjective(0.5, 2.0, 5.0, weighting="uncertainty")
    s = [0.4, -0.3, 1.2]
    with torch.no_grad():
        objective.log_variances.copy_(torch.tensor(s))
    expected = sum(
        weight * (math.exp(-spread) * term + spread)
        for weight, spread, term in zip((0.5, 2.0, 5.0), s, oracle(prediction, targets, {}), strict=True)
    )
    assert objective(prediction, targets).total.item() == pytest.approx(expected, rel=1e-5)


def test_dice_of_perfect_masks_adds_nothing_and_of_wrong_ones_adds_its_weight():
    prediction, targets = example()
    sure = (targets.masks[:, None].double() * 2 - 1) * 60
    plain, with_dice = MultiTaskObjective(), MultiTaskObjective(dice=2.0)
    right = prediction._replace(mask_logits=sure)
    wrong = prediction._replace(mask_logits=-sure)
    assert float(with_dice(right, targets).segmentation) == pytest.approx(0.0, abs=1e-6)
    added = with_dice(wrong, targets).segmentation - plain(wrong, targets).segmentation
    assert float(added) == pytest.approx(2.0, rel=1e-4)


def test_items_without_identity_do_not_take_part_in_the_triplets():
    prediction, targets = example()
    identities = torch.tensor([0, 0, 1, 1, -1, -1])
    term = MultiTaskObjective(triplet=TripletLoss(mining="all"))(prediction, targets._replace(identities=identities))
    alone = TripletLoss(mining="all")(prediction.embedding[:4], identities[:4])
    torch.testing.assert_close(term.triplet, alone)


@pytest.mark.parametrize("missing", ["classes", "masks", "identities", "all"])
def test_missing_targets_add_nothing_and_backward_works(missing):
    prediction, targets = example()
    if missing in ("classes", "all"):
        targets = targets._replace(classes=torch.full((6,), -1))
    if missing in ("masks", "all"):
        targets = targets._replace(masks=torch.full((6, 4, 5), 255))
    if missing in ("identities", "all"):
        targets = targets._replace(identities=torch.full((6,), -1))
    terms = MultiTaskObjective()(prediction, targets)
    names = {"classes": "classification", "masks": "segmentation", "identities": "triplet"}
    for target, term in names.items():
        assert (float(getattr(terms, term)) == 0.0) == (missing in (target, "all"))
    terms.total.backward()
    assert all(torch.isfinite(part.grad).all() for part in prediction)


def test_targets_that_are_none_and_heads_that_are_none_are_left_out():
    prediction, targets = example()
    terms = MultiTaskObjective()(prediction._replace(mask_logits=None), targets._replace(classes=None))
    assert float(terms.classification) == float(terms.segmentation) == 0.0
    assert float(terms.triplet) > 0


def test_a_batch_without_any_target_still_has_a_backward_pass():
    prediction, _ = example()
    terms = MultiTaskObjective()(prediction, Targets(None, None, None))
    terms.total.backward()
    assert [float(term.detach()) for term in terms[:4]] == [0.0] * 4
    assert all((part.grad == 0).all() for part in prediction)


def test_weights_that_are_all_zero_still_give_a_total_with_a_graph():
    prediction, targets = example()
    total = MultiTaskObjective(0.0, 0.0, 0.0)(prediction, targets).total
    total.backward()
    assert total.item() == 0


@pytest.mark.parametrize("name", ["classification", "segmentation", "triplet"])
def test_a_term_whose_weight_is_zero_is_not_computed(name):
    class Refuses(torch.nn.Module):
        def forward(self, embeddings, labels):
            raise AssertionError("the metric term was asked for")

    prediction, targets = example()
    weights = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0}
    weights[{"classification": "alpha", "segmentation": "beta", "triplet": "gamma"}[name]] = 0.0
    triplet = Refuses() if name == "triplet" else None
    terms = MultiTaskObjective(**weights, triplet=triplet)(prediction, targets)
    for term in ("classification", "segmentation", "triplet"):
        assert (float(getattr(terms, term).detach()) == 0) == (term == name)


def test_a_weight_of_zero_keeps_even_nan_out():
    prediction, targets = example()
    broken = prediction._replace(class_logits=prediction.class_logits * float("nan"))
    terms = MultiTaskObjective(alpha=0.0)(broken, targets)
    assert torch.isfinite(terms.total)
    terms.total.backward()
    assert torch.isfinite(prediction.embedding.grad).all()


def test_a_weight_of_zero_leaves_its_head_without_gradient():
    prediction, targets = example()
    MultiTaskObjective(gamma=0.0)(prediction, targets).total.backward()
    assert prediction.embedding.grad is None or not prediction.embedding.grad.any()
    assert prediction.class_logits.grad.any()


def test_half_precision_logits_are_summed_in_float32():
    prediction, targets = example()
    halves = Prediction(*(part.detach().to(torch.bfloat16) for part in prediction))
    terms = MultiTaskObjective()(halves, targets)
    assert terms.total.dtype == torch.float32
    exact = MultiTaskObjective()(Prediction(*(part.double() for part in halves)), targets)
    torch.testing.assert_close(terms.segmentation, exact.segmentation.float(), rtol=1e-5, atol=1e-6)


def test_uncertainty_weighting_starts_at_the_fixed_total_and_learns():
    prediction, targets = example()
    fixed, learnt = MultiTaskObjective(), MultiTaskObjective(weighting="uncertainty")
    terms = learnt(prediction, targets)
    torch.testing.assert_close(terms.total, fixed(prediction, targets).total)
    terms.total.backward()
    expected = torch.tensor([1 - float(t) for t in terms[1:4]])
    torch.testing.assert_close(learnt.log_variances.grad, expected, rtol=1e-5, atol=1e-6)


def test_a_pytorch_metric_learning_loss_is_a_metric_term():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    prediction, targets = example()
    criterion = losses.ContrastiveLoss()
    terms = MultiTaskObjective(triplet=criterion)(prediction, targets)
    torch.testing.assert_close(terms.triplet, criterion(prediction.embedding, targets.identities))
    assert terms.outcome is None


def test_gradient_norms_are_those_of_each_weighted_term_alone():
    torch.manual_seed(0)
    shared = torch.nn.Linear(5, 8)
    x = torch.randn(6, 5)
    _, targets = example()
    objective = MultiTaskObjective(1.0, 0.0, 3.0)

    def predict():
        h = shared(x)
        return Prediction(h[:, :3], None, torch.nn.functional.normalize(h, dim=1))

    norms = gradient_norms(objective, objective(predict(), targets), list(shared.parameters()))
    for name, weight in (("classification", 1.0), ("triplet", 3.0)):
        shared.zero_grad()
        (weight * getattr(objective(predict(), targets), name)).backward()
        expected = math.sqrt(sum(float(p.grad.square().sum()) for p in shared.parameters()))
        assert norms[name] == pytest.approx(expected, rel=1e-5)
    assert norms["segmentation"] == 0.0


@pytest.mark.parametrize("settings", [{"alpha": -1.0}, {"beta": math.nan}, {"weighting": "magic"}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=str(next(iter(settings)))):
        MultiTaskObjective(**settings)


def test_what_is_not_there_or_weighs_nothing_is_not_computed():
    class Refusing(torch.nn.Module):
        def forward(self, embeddings, labels):
            raise AssertionError("the metric term was computed")

    prediction, targets = example()
    for settings, given, known in [
        ({"gamma": 0.0}, prediction, targets),
        ({}, prediction._replace(embedding=None), targets),
        ({}, prediction, targets._replace(identities=None)),
    ]:
        terms = MultiTaskObjective(triplet=Refusing(), **settings)(given, known)
        assert float(terms.triplet) == 0.0
        assert terms.outcome is None
    for settings, given, known in [
        ({"alpha": 0.0}, prediction, targets),
        ({}, prediction._replace(class_logits=None), targets),
        ({}, prediction, targets._replace(classes=None)),
    ]:
        assert float(MultiTaskObjective(**settings)(given, known).classification) == 0.0
    for settings, given, known in [
        ({"beta": 0.0}, prediction, targets),
        ({}, prediction._replace(mask_logits=None), targets),
        ({}, prediction, targets._replace(masks=None)),
    ]:
        assert float(MultiTaskObjective(**settings)(given, known).segmentation) == 0.0


def test_unless_told_otherwise_the_three_terms_weigh_the_same():
    assert MultiTaskObjective().weights == {"classification": 1.0, "segmentation": 1.0, "triplet": 1.0}


def test_nothing_is_smoothed_or_added_unless_asked():
    assert (MultiTaskObjective().dice, MultiTaskObjective().label_smoothing) == (0.0, 0.0)


def test_the_outcome_of_the_triplets_is_handed_on():
    prediction, targets = example()
    outcome = MultiTaskObjective()(prediction, targets).outcome
    assert int(outcome.triplets) == 6 * 1 * 4  # six anchors, one positive and four negatives each


def test_parameters_that_no_term_reaches_have_no_gradient_and_the_graph_is_kept():
    prediction, targets = example()
    objective = MultiTaskObjective()
    terms = objective(prediction, targets)
    aside = torch.nn.Parameter(torch.ones(3))
    assert gradient_norms(objective, terms, [aside]) == dict.fromkeys(("classification", "segmentation", "triplet"), 0)
    before = gradient_norms(objective, terms, [prediction.embedding, prediction.class_logits])
    assert gradient_norms(objective, terms, [prediction.embedding, prediction.class_logits]) == before
    assert before["segmentation"] == 0.0
    assert before["triplet"] > 0
    terms.total.backward()


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma", "dice"])
def test_weights_are_finite_and_not_negative(name):
    for weight in (-0.5, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"{name} is"):
            MultiTaskObjective(**{name: weight})
    MultiTaskObjective(**{name: 0.0})
    MultiTaskObjective(**{name: 1e30})


def test_a_memory_of_a_pair_loss_is_the_metric_term_without_an_outcome():
    prediction, targets = example()
    terms = MultiTaskObjective(triplet=CrossBatchMemory(NTXentLoss(), 20, 8))(prediction, targets)
    expected = NTXentLoss()(prediction.embedding, targets.identities)
    torch.testing.assert_close(terms.triplet, expected)
    assert terms.outcome is None
    remembered = MultiTaskObjective(triplet=CrossBatchMemory(TripletLoss(), 20, 8))(prediction, targets)
    assert remembered.outcome.loss == remembered.triplet
