"""The parts of the loop in `vmrlib/training.py`: settings, run folder, log, processes, predicting."""
