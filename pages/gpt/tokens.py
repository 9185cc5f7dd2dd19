"""Placeholder until this lesson is written."""

from gptviz import ui

ui.lesson("tokens", "this lesson is being written.", "it is not there yet.")
