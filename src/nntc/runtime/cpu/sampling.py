"""Sampling of images at places that a grid gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from nntc.bmodel.cpu_ops import (
    AffineGridParam,
    AffineGridSamplerParam,
    CpuOp,
    GridMode,
    GridPadding,
    GridSamplerParam,
)
from nntc.runtime.cpu.arith import f32, round_half_away, to_int
from nntc.runtime.cpu.registry import Call, Output, layer


@layer(
    CpuOp.GRID_SAMPLER,
    "torch.grid_sample of 4-D or 5-D images, bilinear or nearest (half away from zero); zeros, "
    "border or reflection padding",
    "image:f32 grid:f32",
    "sampled:f32",
)
def grid_sampler(call: Call[GridSamplerParam]) -> list[Output]:
    image, grid, param = call.inputs[0], call.inputs[1], call.param
    axes = 2 if grid.ndim == 4 else 3
    call.rank(1, 4, 5)
    call.rank(0, axes + 2)
    call.require(
        grid.shape[0] >= image.shape[0] and grid.shape[-1] == axes,
        f"grid {grid.shape} for an image {image.shape}",
    )
    call.require(param.padding_mode in list(GridPadding), f"padding_mode {param.padding_mode}")
    grid = grid[: image.shape[0]]
    call.room(0, (*image.shape[:2], *grid.shape[1:-1]))
    # The last grid coordinate belongs to the first image axis.
    places = [
        _pixel(grid[..., axes - 1 - a], image.shape[2 + a], param.padding_mode, param.align_corners)
        for a in range(axes)
    ]
    return [_sample(call, image, places, param.mode)]


@layer(
    CpuOp.AFFINE_GRID,
    "torch.affine_grid of 2-D images; the output size is the int32 input 1 (n, c, h, w)",
    "theta:f32 size:i32",
    "grid:f32",
)
def affine_grid(call: Call[AffineGridParam]) -> list[Output]:
    theta, (n, _, h, w) = _theta_and_size(call)
    call.room(0, (n, h, w, 2))
    x, y = _affine(theta[:n], h, w, call.param.align_corners)
    return [np.stack([x, y], -1)]


@layer(
    CpuOp.AFFINE_GRID_SAMPLER,
    "an affine grid of the int32 size of input 1, and sampling of image, input 2, with it; "
    "padding with zeros only",
    "theta:f32 size:i32 image:f32",
    "sampled:f32",
)
def affine_grid_sampler(call: Call[AffineGridSamplerParam]) -> list[Output]:
    param, image = call.param, call.inputs[2]
    call.rank(2, 4)
    call.require(param.padding_mode == GridPadding.ZEROS, f"padding_mode {param.padding_mode}")
    theta, (_, _, h, w) = _theta_and_size(call, image.shape[0])
    call.room(0, (*image.shape[:2], h, w))
    x, y = _affine(theta[: image.shape[0]], h, w, param.generator_align_corners)
    places = [
        _pixel(at, size, param.padding_mode, param.align_corners)
        for at, size in ((y, image.shape[2]), (x, image.shape[3]))
    ]
    return [_sample(call, image, places, param.mode)]


def _theta_and_size(call: Call[Any], batches: int | None = None) -> tuple[np.ndarray, list[int]]:
    size = [int(v) for v in call.ints(1).reshape(-1)[:4]]
    call.require(len(size) == 4 and min(size) >= 0, f"output size {size} is not (n, c, h, w)")
    theta = call.inputs[0].reshape(-1)
    needed = size[0] if batches is None else batches
    call.require(theta.size >= 6 * needed, f"theta {call.inputs[0].shape} for {needed} images")
    return theta[: theta.size // 6 * 6].reshape(-1, 6), size


def _affine(theta: np.ndarray, h: int, w: int, align: bool) -> tuple[np.ndarray, np.ndarray]:
    """x and y of each output place, (n, h, w)."""
    ys, xs = _linspace(h, align)[None, :, None], _linspace(w, align)[None, None, :]
    t = theta.T[..., None, None]
    return xs * t[0] + (ys * t[1] + t[2]), xs * t[3] + (ys * t[4] + t[5])


def _linspace(count: int, align: bool) -> np.ndarray:
    if count <= 1:
        return np.zeros(count, np.float32)
    steps = np.full(count, 2.0 / (count - 1), np.float32)
    steps[0] = -1
    line = np.cumsum(steps, dtype=np.float32)
    line[-1] = 1
    return line if align else line * f32((count - 1) * 1.0 / count)


def _pixel(at: np.ndarray, size: int, padding: int, align: bool) -> np.ndarray:
    """Pixel places of coordinates in -1..1, moved into the image as the padding asks."""
    if align:
        place = ((at + f32(1)) * f32(0.5)) * f32(size - 1)
    else:
        place = ((at + f32(1)) * f32(size) - f32(1)) * f32(0.5)
    if padding == GridPadding.REFLECTION:
        place = _reflect(place, 0, 2 * (size - 1)) if align else _reflect(place, -1, 2 * size - 1)
    if padding in (GridPadding.BORDER, GridPadding.REFLECTION):
        positive = np.where(place < 0, f32(0), place)
        place = np.where(positive < f32(size - 1), positive, f32(size - 1))
    return place


def _reflect(place: np.ndarray, twice_low: int, twice_high: int) -> np.ndarray:
    if twice_low == twice_high:
        return np.zeros_like(place)
    low, span = f32(twice_low) / f32(2), f32(twice_high - twice_low) / f32(2)
    distance = np.abs(place - low)
    extra = np.fmod(distance, span)
    flips = to_int(np.floor(distance / span))
    return np.where(flips % 2 == 0, extra + low, span - extra + low)


def _sample(call: Call[Any], image: np.ndarray, places: list[np.ndarray], mode: int) -> np.ndarray:
    """Values of (n, c, …) *image* at *places*, one array (n, …) an image axis; zeros outside."""
    call.require(mode in list(GridMode), f"mode {mode}")
    sizes = image.shape[2:]
    out = np.zeros((*image.shape[:2], *places[0].shape[1:]), np.float32)
    batch = np.arange(image.shape[0]).reshape(-1, *[1] * (places[0].ndim - 1))

    def values(corner: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        inside = np.ones(places[0].shape, bool)
        for at, size in zip(corner, sizes, strict=True):
            inside &= (at >= 0) & (at < size)
        clipped = [np.clip(at, 0, max(s - 1, 0)) for at, s in zip(corner, sizes, strict=True)]
        # Advanced indices around the channel slice put the channel axis last.
        return np.moveaxis(image[(batch, slice(None), *clipped)], -1, 1), inside[:, None]

    if mode == GridMode.NEAREST:
        found, inside = values([to_int(round_half_away(p)) for p in places])
        return np.where(inside, found, f32(0))
    low = [to_int(np.floor(p)) for p in places]
    high_share = [p - at.astype(np.float32) for p, at in zip(places, low, strict=True)]
    shares = [(f32(1) - d, d) for d in high_share]
    for number in range(2 ** len(sizes)):
        # Corners in the order of addition: the last image axis changes fastest.
        bits = [number >> (len(sizes) - 1 - a) & 1 for a in range(len(sizes))]
        found, inside = values([at + b for at, b in zip(low, bits, strict=True)])
        # Weights are multiplied from the last image axis to the first.
        weight = shares[-1][bits[-1]]
        for a in range(len(sizes) - 2, -1, -1):
            weight = weight * shares[a][bits[a]]
        out += np.where(inside, found * weight[:, None], f32(0))
    return out
