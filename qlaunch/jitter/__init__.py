"""How calm a guest's CPUs are: the probe's report, its numbers, and their tables and pictures. Pure."""
