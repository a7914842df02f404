"""Images as a network sees them: resized, padded, cropped and normalised as Pillow, torchvision and timm do it."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageOps
from timm.data import create_transform, resolve_model_data_config
from torchvision.transforms import v2

from triune.data.boxes import Box
from triune.data.normalising import network_input
from triune.data.preprocessing import Preprocessing
from triune.data.reading import Reading
from triune.errors import InputError
from triune.model.images import own_preprocessing

SIZES = [(40, 48), (48, 40), (37, 90), (90, 37), (7, 61), (64, 64)]
FRAMES = [(32, 32), (64, 32), (24, 56), (100, 70)]


def noise(size, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8))


def ids(size, folder):
    mask = np.random.default_rng(1).integers(0, 3, size).astype(np.uint8)
    Image.fromarray(mask).save(folder / "mask.png")
    return mask, folder / "mask.png"


@pytest.mark.parametrize("own", SIZES)
@pytest.mark.parametrize("frame", FRAMES)
def test_squash_is_one_resize_whatever_the_shape(own, frame, tmp_path):
    image = noise(own)
    seen = Preprocessing(frame).image(image, 3)
    assert np.array_equal(seen.pixels, np.asarray(image.resize(frame[::-1], Image.Resampling.BICUBIC)))
    assert seen.size == own
    mask, path = ids(own, tmp_path)
    expected = Image.fromarray(mask).resize(frame[::-1], Image.Resampling.NEAREST)
    assert np.array_equal(Preprocessing(frame).mask(path), np.asarray(expected))


@pytest.mark.parametrize("own", SIZES)
@pytest.mark.parametrize("frame", FRAMES)
def test_pad_keeps_the_shape_and_fills_with_the_mean_colour_and_255_in_the_mask(own, frame, tmp_path):
    image, fill = noise(own), (10, 128, 250)
    pad = Preprocessing(frame, "pad", mean=tuple(each / 255 for each in fill), std=(1.0,) * 3)
    seen = pad.image(image, 3).pixels
    # Pillow's own way to do the same.
    expected = ImageOps.pad(image, frame[::-1], Image.Resampling.BICUBIC, color=fill, centering=(0.4999, 0.4999))
    assert np.array_equal(seen, np.asarray(expected))
    placed = pad.placed(own)
    assert placed.resized[0] == frame[0] or placed.resized[1] == frame[1], "it touches two sides"
    mask, path = ids(own, tmp_path)
    inner = Image.fromarray(mask).resize(placed.resized[::-1], Image.Resampling.NEAREST)
    by_hand = Image.new("L", frame[::-1], 255)
    by_hand.paste(inner, (placed.left, placed.top))
    assert np.array_equal(pad.mask(path), np.asarray(by_hand))
    filled = network_input(seen, pad)[:, torch.tensor(np.asarray(by_hand) == 255)]
    assert (filled.abs() < 1e-6).all(), "what is filled is 0 to the network"


@pytest.mark.parametrize("own", SIZES)
@pytest.mark.parametrize("side", [32, 45])
def test_crop_is_torchvision_s_resize_of_the_shorter_side_and_centre_crop(own, side, tmp_path):
    image, crop = noise(own), Preprocessing((side, side), "crop", "bilinear")
    by_torchvision = v2.Compose([v2.Resize(side), v2.CenterCrop(side)])
    assert np.array_equal(crop.image(image, 3).pixels, np.asarray(by_torchvision(image)))
    mask, path = ids(own, tmp_path)
    nearest = v2.Compose([v2.Resize(side, v2.InterpolationMode.NEAREST), v2.CenterCrop(side)])
    assert np.array_equal(crop.mask(path), np.asarray(nearest(Image.fromarray(mask))))


@pytest.mark.parametrize("own", SIZES)
@pytest.mark.parametrize("frame", FRAMES)
def test_crop_to_a_frame_that_is_no_square_covers_it_and_loses_as_much_on_either_side(own, frame):
    image, crop = noise(own), Preprocessing(frame, "crop")
    placed = crop.placed(own)
    high, wide = placed.resized
    assert high >= frame[0]
    assert wide >= frame[1]
    assert high == frame[0] or wide == frame[1]
    assert abs(high / own[0] - wide / own[1]) < max(1 / own[0], 1 / own[1])
    top, left = -placed.top, -placed.left
    assert abs(top - (high - frame[0] - top)) <= 1
    assert abs(left - (wide - frame[1] - left)) <= 1
    whole = image.resize((wide, high), Image.Resampling.BICUBIC)
    assert np.array_equal(
        crop.image(image, 3).pixels, np.asarray(whole.crop((left, top, left + frame[1], top + frame[0])))
    )


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("share", [1.0, 0.95, 0.875])
@pytest.mark.parametrize("own", SIZES)
def test_the_whole_of_timm_s_preprocessing_is_one_of_these(mode, share, own):
    numbers = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    theirs = create_transform((3, 40, 40), crop_pct=share, crop_mode=mode, interpolation="bicubic", **numbers)
    fit = {"center": "crop", "squash": "squash", "border": "pad"}[mode]
    ours = Preprocessing((40, 40), fit, "bicubic", numbers["mean"], numbers["std"], share)
    found = network_input(ours.image(noise(own), 3).pixels, ours)
    torch.testing.assert_close(found, theirs(noise(own)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "name", ["resnet10t", "test_resnet", "test_vit", "vit_base_patch16_clip_224", "tf_efficientnet_lite0"]
)
def test_mean_deviation_and_filter_are_those_of_timm_s_data_configuration(name):
    theirs = create_transform(**resolve_model_data_config(timm.create_model(name)), is_training=False)
    own = own_preprocessing(name)
    image = noise((300, 230))
    torch.testing.assert_close(network_input(own.image(image, 3).pixels, own), theirs(image), atol=1e-5, rtol=0)


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_a_box_is_the_cropped_image_and_its_mask_likewise(fit, tmp_path):
    image, box = noise((60, 80)), Box(10, 5, 45, 58)
    image.save(tmp_path / "a.png")
    cut = image.crop(box)
    seen = Preprocessing((32, 40), fit)
    found = seen.image(tmp_path / "a.png", 3, box)
    assert np.array_equal(found.pixels, seen.image(cut, 3).pixels)
    assert found.size == (60, 80)
    mask, path = ids((60, 80), tmp_path)
    Image.fromarray(mask[5:58, 10:45]).save(tmp_path / "cut.png")
    assert np.array_equal(seen.mask(path, box=box), seen.mask(tmp_path / "cut.png"))
    reading = Reading(mask_values=(0, 2, 1))
    assert np.array_equal(seen.mask(path, reading, box), seen.mask(tmp_path / "cut.png", reading))
    for wrong, column in (((0, 0, 81, 9), "x_2"), ((0, 0, 9, 61), "y_2")):
        with pytest.raises(ValueError, match=f"column {column}: the box reaches to .* 80 x 60 pixels"):
            seen.image(tmp_path / "a.png", 3, Box(*wrong))
        with pytest.raises(ValueError, match=f"column {column}"):
            seen.mask(path, box=Box(*wrong))


def test_a_box_of_a_large_photograph_is_cut_at_full_scale(tmp_path):
    """A JPEG may be decoded at an eighth of its scale, where a box of 9 pixels would be one."""
    ramp = np.linspace(0, 255, 1600).astype(np.uint8)[None, :, None].repeat(1200, 0).repeat(3, 2)
    Image.fromarray(ramp).save(tmp_path / "a.jpg", quality=95)
    box = Box(1003, 500, 1012, 509)
    found = Preprocessing((3, 3)).image(tmp_path / "a.jpg", 3, box).pixels.astype(int)
    by_hand = np.asarray(Image.open(tmp_path / "a.jpg").crop(box).resize((3, 3), Image.Resampling.BICUBIC)).astype(int)
    assert np.array_equal(found, by_hand)


def test_a_turned_photograph_has_its_box_and_its_shape_as_it_is_seen(tmp_path):
    upright = noise((60, 90))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    for box in (None, Box(20, 0, 80, 30)):
        for fit in ("pad", "crop"):
            seen = Preprocessing((32, 32), fit)
            assert np.array_equal(seen.image(tmp_path / "a.png", 3, box).pixels, seen.image(upright, 3, box).pixels)


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_one_pixel_and_one_row_are_images_too(fit):
    for own in ((1, 1), (1, 50), (50, 1)):
        found = Preprocessing((8, 12), fit, mean=(0.0,) * 3, std=(1.0,) * 3).image(
            Image.new("RGB", own[::-1], "white"), 3
        )
        assert found.pixels.shape == (8, 12, 3)
        assert found.pixels.max() == 255


def test_an_image_that_cropping_would_make_endless_is_refused():
    with pytest.raises(ValueError, match=r"10 x 40000 pixels, so elongated that crop .* crop it first"):
        Preprocessing((512, 512), "crop").image(Image.new("L", (10, 40000)), 1)


def test_grey_images_are_filled_and_normalised_by_one_number():
    seen = Preprocessing((10, 10), "pad").image(Image.new("L", (4, 10), 255), 1).pixels
    assert seen.shape == (10, 10, 1)
    assert set(np.unique(seen)) == {round(0.449 * 255), 255}


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-3, 4)])
def test_a_size_without_pixels_is_refused(size):
    with pytest.raises(InputError, match="images need at least one pixel"):
        Preprocessing(size)
