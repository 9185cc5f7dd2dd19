"""The parts of a training run: how to train, the optimisers, the saved state, the processes, the records, the command.

The loop itself is `gptviz.train`, which knows them; of these, only the command knows it.
"""
