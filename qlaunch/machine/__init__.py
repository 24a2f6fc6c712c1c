"""The machine file as a whole: where it is found, how it is read, and which rules hold across its sections."""
