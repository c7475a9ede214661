"""A cloud on one machine, against which everything that works on real ones can be rehearsed."""
