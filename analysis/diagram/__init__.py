"""Space-time diagrams: what some peers of a run sent and delivered in a stretch of time, and what broke there.

    window(run, from_s, to_s, peers)     what is in a stretch of time
    around(run, property)                the one that shows a violation
    samples(run, count)                  short ones, evenly spread over the run
    svg(window, title)                   its picture; INTERACTION_JS, once in a page, lets people zoom all of them
"""

from analysis.diagram.around import around, violated
from analysis.diagram.standalone import INTERACTION_JS, page, picture
from analysis.diagram.svg import svg
from analysis.diagram.window import Window, samples, stretch, window

__all__ = [
    "INTERACTION_JS", "Window", "around", "page", "picture", "samples", "stretch", "svg", "violated", "window",
]  # fmt: skip
