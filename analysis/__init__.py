"""What runs leave in their folders, as tables, figures and pages.

    import analysis
    lab = analysis.load("runs/first-sweep")
    lab.runs.groupby("ordering")["out_of_order_rounds"].median()
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.frames import Frames


def load(*paths: Path | str, partial: bool = False) -> Frames:
    """The runs in these folders, each a run's or a sweep's, as frames; FRAMES in analysis/frames.py tells the columns.

    `partial`: take runs and sweeps that did not come to their end, too, as far as they are there.
    """
    from analysis.frames import load as load_frames  # tables take a while to import, and not everybody needs them

    return load_frames(*paths, partial=partial)
