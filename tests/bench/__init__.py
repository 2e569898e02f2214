"""What `make bench` measures: ours beside a peer or a bare floor, in turn, in one run. Scripts, not tests."""
