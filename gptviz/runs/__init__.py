"""Training that is begun in the app: each run a folder under `gptviz.folder.runs_root()` and a process of its own.

The process writes files, the app reads them: nothing is lost with a browser's tab, a visitor or the app itself.
"""
