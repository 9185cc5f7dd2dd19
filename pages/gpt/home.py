"""Home: what this is, which models there are, and where the lessons begin."""

from gptviz import ui

ui.lesson("gptviz", "what a real transformer does with your sentence.", "a picture of attention is no explanation.")
