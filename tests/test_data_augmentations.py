"""Augmentations: pure functions of an example's own draws, whatever batch it is in."""

import math

import numpy as np
import pytest
import torch

from modelscale.data.augmentations.base import AugmentationSpec

KINDS = AugmentationSpec.kinds()
CENTRE = 0.5  # the draw that moves and turns by nothing


def images(count: int = 6, height: int = 9, width: int = 7) -> torch.Tensor:
    return torch.rand(count, 2, height, width, generator=torch.Generator().manual_seed(0)) + 1.0


def series(count: int = 6) -> torch.Tensor:
    x = torch.randn(count, 3, 15, generator=torch.Generator().manual_seed(0))
    there = (torch.arange(15) < torch.arange(4, 4 + 2 * count, 2)[:, None, None]).float()
    return torch.cat([x * there, there], dim=1)


def examples(spec: AugmentationSpec, count: int = 6) -> torch.Tensor:
    return series(count) if spec.form == "series" else images(count)


def draws(spec: AugmentationSpec, count: int = 6) -> torch.Tensor:
    return torch.rand(count, spec.draws, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_does_not_depend_on_its_batch(kind: str) -> None:
    spec = AugmentationSpec.model_validate(kind)
    x, uniform = examples(spec), draws(spec)
    together = spec.apply(x, uniform)
    assert together.shape == x.shape
    assert together.dtype == torch.float32
    order = torch.tensor([3, 0, 5])
    torch.testing.assert_close(spec.apply(x[order], uniform[order]), together[order])
    for row in range(len(x)):
        one = slice(row, row + 1)
        torch.testing.assert_close(spec.apply(x[one], uniform[one]), together[one])
    assert torch.equal(spec.apply(x, uniform), together)


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_draws_are_within_bounds(kind: str) -> None:
    spec = AugmentationSpec.model_validate(kind)
    x = examples(spec, 2)
    below_one = math.nextafter(1.0, 0.0)
    uniform = torch.tensor([[0.0] * spec.draws, [below_one] * spec.draws], dtype=torch.float32)
    assert spec.apply(x, uniform).isfinite().all()


def test_flip_mirrors() -> None:
    spec = AugmentationSpec.model_validate({"kind": "flip", "horizontal": 0.5, "vertical": 0.5})
    x = images(3)
    got = spec.apply(x, torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.9, 0.9]]))
    assert torch.equal(got[0], x[0].flip(2))
    assert torch.equal(got[1], x[1].flip(1))
    assert torch.equal(got[2], x[2])


def test_shift_and_crop_move_whole_pixels_and_fill_with_0() -> None:
    x = images(3, 10, 10)
    shift = AugmentationSpec.model_validate({"kind": "shift", "fraction": 0.2})
    got = shift.apply(x, torch.tensor([[0.99, CENTRE], [CENTRE, 0.0], [CENTRE, CENTRE]]))
    assert torch.equal(got[0, :, 2:], x[0, :, :-2])
    assert not got[0, :, :2].any()
    assert torch.equal(got[1, :, :, :-2], x[1, :, :, 2:])
    assert not got[1, :, :, -2:].any()
    assert torch.equal(got[2], x[2])
    crop = AugmentationSpec.model_validate({"kind": "crop", "padding": 3})
    padded = np.pad(x[0].numpy(), ((0, 0), (3, 3), (3, 3)))
    for u, v in ((0.01, 0.99), (0.3, 0.6)):
        moved = crop.apply(x[:1], torch.tensor([[u, v]]))[0].numpy()
        down, right = math.floor(u * 7) - 3, math.floor(v * 7) - 3
        window = padded[:, 3 - down : 13 - down, 3 - right : 13 - right]
        np.testing.assert_array_equal(moved, window)


def test_rotation_matches_quarter_turns_and_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    spec = AugmentationSpec.model_validate({"kind": "rotate", "degrees": 90})
    x = images(1, 8, 8)
    quarter = spec.apply(x, torch.tensor([[0.0]]))  # -90 degrees
    turned = [torch.rot90(x, times, (2, 3)) for times in (1, -1)]
    assert any(torch.allclose(quarter, t, atol=1e-5) for t in turned)
    torch.testing.assert_close(spec.apply(x, torch.tensor([[CENTRE]])), x, atol=1e-5, rtol=0)
    # A picture with unequal sides must turn, not shear: compare its middle with SciPy's.
    wide = torch.zeros(1, 1, 21, 41)
    wide[0, 0, 6:15, 14:27] = 1.0
    degrees = 30.0
    draw = (degrees / 90 + 1) / 2
    got = spec.apply(wide, torch.tensor([[draw]]))[0, 0].numpy()
    options = {"reshape": False, "order": 1}
    both = [ndimage.rotate(wide[0, 0].numpy(), sign * degrees, **options) for sign in (1, -1)]
    assert min(np.abs(got - oracle).max() for oracle in both) < 1e-4


def test_cutout_sets_one_square_to_0() -> None:
    spec = AugmentationSpec.model_validate({"kind": "cutout", "size": 3})
    x = images(1)
    got = spec.apply(x, torch.tensor([[0.5, 0.5]]))
    assert int((got == 0).sum()) == 2 * 3 * 3
    assert torch.equal(got[got != 0], x[got != 0])
    corner = spec.apply(x, torch.tensor([[0.0, 0.0]]))
    assert int((corner == 0).sum()) == 2 * 2 * 2


def test_mixup_keeps_at_least_half() -> None:
    spec = AugmentationSpec.model_validate({"kind": "mixup", "strength": 1.0})
    assert spec.mixes
    share = spec.blend(torch.tensor([[0.0], [0.5], [0.999999]]))
    torch.testing.assert_close(share, torch.tensor([1.0, 0.75, 0.5]), atol=1e-5, rtol=0)
