"""The pure core: a graph becomes faults and phases; an outcome becomes commands. No I/O, no clock, no chance."""
