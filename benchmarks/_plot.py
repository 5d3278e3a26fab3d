"""Plots as SVG, without a plotting library: cost against quality, and hits against errors."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np
from _measures import Curve, Frame

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 520, 60, 250, 36, 46
COLOURS = ("#888888", "#b07aa1", "#9c755f", "#76b7b2", "#59a14f", "#edc948", "#ff9da7", "#4e79a7", "#d37295", "#a0cbe8")
OURS = {"ours, single": "#f28e2b", "ours, cascade": "#e15759"}


def plot(title: str, frame: Frame, curves: dict[str, Curve], path: Path) -> None:
    """Write the plot: mean cost as a share of the best constant model's (logarithmic) against mean quality."""
    spent = frame.cost_usd[:, frame.best].mean()
    lines = {
        name: (np.maximum(curve.cost_usd.mean(1) / spent, 1e-4), curve.quality.mean(1))
        for name, curve in curves.items()
        if len(curve.quality) > 1
    }
    dots = frame.cost_usd.mean(0) / spent, frame.quality.mean(0)
    every = np.concatenate([x for x, _ in lines.values()])
    low, high = np.floor(np.log10(every.min()) * 2) / 2, np.log10(max(every.max(), dots[0].max())) + 0.05
    top = max(y.max() for _, y in lines.values()) + 0.01
    bottom = float(np.quantile(np.concatenate([y for n, (_, y) in lines.items() if n in OURS]), 0.1)) - 0.05

    def across(share: float) -> float:
        return float(LEFT + (np.log10(share) - low) / (high - low) * (WIDTH - LEFT - RIGHT))

    def down(quality: float) -> float:
        return float(TOP + (top - quality) / (top - bottom) * (HEIGHT - TOP - BOTTOM))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<clipPath id="area"><rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/></clipPath>',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}: quality of the served answers by cost</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 8}">mean cost, as a share of {escape(frame.models[frame.best])} alone</text>',
    ]
    for exponent in np.arange(np.ceil(low), high):
        for digit in (1, 2, 5):
            share = digit * 10.0**exponent
            if low <= np.log10(share) <= high:
                x = across(share)
                parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>')
                parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{share:g}</text>')
    for quality in np.arange(np.ceil(bottom / 0.05), top / 0.05) * 0.05:
        y = down(quality)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#eee"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{quality:.2f}</text>')
    others = [name for name in lines if name not in OURS]
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(others)} | OURS
    styles = {
        name: f'stroke="{colours[name]}" stroke-width="{3 if name in OURS else 1.3}"'
        + (' stroke-dasharray="4 3"' if name in others[len(COLOURS) :] else "")
        for name in lines
    }
    for name in [*others, *OURS]:
        x, y = lines[name]
        order = np.argsort(x, kind="stable")
        where = " ".join(f"{across(a):.1f},{down(b):.1f}" for a, b in zip(x[order], y[order], strict=True))
        parts.append(f'<polyline points="{where}" fill="none" clip-path="url(#area)" {styles[name]}/>')
    for number, name in enumerate([*OURS, *others]):
        y = TOP + 14 + 18 * number
        parts.append(f'<path d="M{WIDTH - RIGHT + 12} {y - 4}h22" {styles[name]}/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 40}" y="{y}">{escape(name)}</text>')
    for share, quality in zip(*dots, strict=True):
        if quality >= bottom and np.log10(share) >= low:
            parts.append(f'<circle cx="{across(share):.1f}" cy="{down(quality):.1f}" r="3" fill="#333"/>')
    parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 20 + 18 * len(lines)}">● one model alone</text></svg>')
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def scatter(title: str, curves: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Write a plot of shares: each curve's points, joined in their order; the last curve is drawn thick.

    Args:
        title: names both axes, `UP by ACROSS`.
        curves: of each name, points (across, up), both in [0, 1].
        path: of the SVG.
    """
    points = np.array([point for curve in curves.values() for point in curve])
    right, top = max(0.1, points[:, 0].max() * 1.05), max(0.01, min(0.12, points[:, 1].max() * 1.05))
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    for step in range(6):
        x, y = LEFT + width * step / 5, TOP + height * (1 - step / 5)
        parts.append(f'<path d="M{x:.1f} {TOP}v{height}M{LEFT} {y:.1f}h{width}" stroke="#eee"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{right * step / 5:.0%}</text>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * step / 5:.1%}</text>')
    for number, (name, curve) in enumerate(curves.items()):
        is_last = number == len(curves) - 1
        colour = "#e15759" if is_last else COLOURS[number % len(COLOURS)]
        places = [(LEFT + width * x / right, TOP + height * (1 - min(y, top) / top)) for x, y in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        stroke = f'stroke="{colour}" stroke-width="{3 if is_last else 1.3}"'
        parts.append(f'<polyline points="{line}" fill="none" {stroke}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in places]
        at = TOP + 14 + 18 * number
        parts.append(f'<path d="M{WIDTH - RIGHT + 12} {at - 4}h22" {stroke}/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 40}" y="{at}">{escape(name)}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 8}">points over {top:.0%} stand at the top edge</text></svg>')
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
