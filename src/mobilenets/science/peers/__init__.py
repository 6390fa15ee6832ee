"""Networks of other papers that the four papers compare theirs with, as torch modules that can be counted and timed."""
