"""Networks of other papers with which the four papers compare theirs, as torch modules that can be counted and timed."""
