"""Pictures of traces. Needs matplotlib: pip install 'moxie[plot]'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from .trace import Trace


def _axes(axes: Any) -> Any:
    if axes is not None:
        return axes
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("moxie.plot needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def expert_map(trace: "Trace", *, by: str = "counts", axes: Optional[Any] = None) -> Any:
    """Layers by experts: the share of each layer's tokens (by="counts") or of its weight (by="mass") that each expert
    takes. Returns matplotlib's axes; `.figure.savefig(path)` writes it."""
    if by not in ("counts", "mass"):
        raise ValueError(f"by={by!r}; take 'counts' or 'mass'")
    values = trace.counts() if by == "counts" else trace.mass()
    shares = values / values.sum(axis=1, keepdims=True).clip(min=1e-12)
    axes = _axes(axes)
    picture = axes.imshow(shares, aspect="auto", cmap="viridis", vmin=0, interpolation="nearest")
    axes.set_yticks(range(len(trace.layers)), trace.layers)
    axes.set_xlabel("expert")
    axes.set_ylabel("layer")
    axes.figure.colorbar(picture, ax=axes, label="share of choices" if by == "counts" else "share of weight")
    return axes


def reuse_curve(trace: "Trace", *, windows: int = 16, axes: Optional[Any] = None) -> Any:
    """How many of a token's experts were used within the last 1, 2, ... tokens; mean over layers."""
    axes = _axes(axes)
    last = min(windows, trace.experts.shape[1] - 1)
    axes.plot(range(1, last + 1), [trace.reuse(window).mean() for window in range(1, last + 1)], marker="o")
    axes.set_xlabel("tokens looked back")
    axes.set_ylabel("share of experts used again")
    axes.set_ylim(0, 1)
    return axes


def hit_rate_curve(trace: "Trace", *, axes: Optional[Any] = None) -> Any:
    """The share of choices found in memory, by experts kept in each layer (the ones used last)."""
    axes = _axes(axes)
    rates = trace.hit_rates()
    axes.plot(range(len(rates)), rates, marker="o")
    axes.set_xlabel("experts kept in a layer")
    axes.set_ylabel("share of choices found")
    axes.set_ylim(0, 1)
    return axes
