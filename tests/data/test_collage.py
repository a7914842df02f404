import torch

from triune.data.collage import add_collages
from triune.data.dataset import Batch


def batch(identities=(0, 0, 1, 1, 2, 2, -1), side=4):
    count = len(identities)
    values = torch.arange(count).float()[:, None, None, None].expand(count, 1, side, side).clone()
    return Batch(
        images=values,
        classes=torch.arange(count),
        identities=torch.tensor(identities),
        masks=values[:, 0].long(),
        rows=torch.arange(count) + 10,
    )


def test_real_items_stay_as_they_are_and_come_first():
    before, after = batch(), add_collages(batch(), 3, 4)
    assert len(after) == len(before) + 12
    for name in ("images", "classes", "identities", "masks", "rows"):
        torch.testing.assert_close(getattr(after, name)[:7], getattr(before, name))


def test_each_quarter_of_an_invented_identity_comes_from_one_real_identity():
    made = add_collages(batch(), 5, 4)
    codes = torch.tensor([0, 0, 1, 1, 2, 2])
    for identity in made.identities[7:].unique():
        images = made.images[made.identities == identity][:, 0]
        assert len(images) == 4
        for y in (0, 2):
            for x in (0, 2):
                quarter = images[:, y : y + 2, x : x + 2]
                assert (quarter == quarter[:, :1, :1]).all()
                sources = codes[quarter[:, 0, 0].long()]
                assert len(sources.unique()) == 1


def test_images_of_an_invented_identity_differ_as_long_as_the_real_ones_do():
    made = add_collages(batch(), 5, 2)
    for identity in made.identities[7:].unique():
        first, second = made.images[made.identities == identity]
        assert (first != second).all()


def test_masks_are_put_together_as_their_images_are():
    made = add_collages(batch(), 4, 3)
    torch.testing.assert_close(made.masks.float(), made.images[:, 0])


def test_collages_have_new_identities_and_neither_class_nor_row():
    made = add_collages(batch(), 4, 3)
    assert made.identities[7:].tolist() == [3] * 3 + [4] * 3 + [5] * 3 + [6] * 3
    assert (made.classes[7:] == -1).all()
    assert (made.rows[7:] == -1).all()


def test_items_without_identity_are_never_used():
    assert not (add_collages(batch(), 20, 4).images[7:] == 6).any()


def test_the_same_batch_and_seed_give_the_same_collages_and_another_seed_others():
    one, again, other = (add_collages(batch(), 8, 4, seed) for seed in (0, 0, 1))
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)


def test_odd_sizes_are_filled_whole():
    made = add_collages(batch(side=5), 6, 2)
    assert made.images.shape == (19, 1, 5, 5)


def test_one_identity_alone_makes_no_collage():
    assert len(add_collages(batch((0, 0, -1)), 3, 2)) == 3
    assert len(add_collages(batch((-1, -1)), 3, 2)) == 2
