"""Text to token shards: documents out of any layout of a corpus, cleaned, split, tokenised, and written whole.

`python -m gptviz prepare` and the app's training page call `prepare`; a trainer reads the result with `Shards`.
"""
