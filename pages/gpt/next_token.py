"""Placeholder until this lesson is written."""

from gptviz import ui

ui.lesson("next token", "this lesson is being written.", "it is not there yet.")
