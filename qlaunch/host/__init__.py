"""What this computer is and has: facts, read only. Blocking; knows no machine file and no trio."""
