"""`yagrpc operation collect`: the ids that it reads, the rows that it writes, and the run between them."""
