"""One run of an execution: the machine driven, its commands carried out, what comes of them recorded."""
