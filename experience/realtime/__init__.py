"""Live streams: one upstream subscription per watched execution, shared by any number of sockets."""
