"""Where Stagedoor lets traffic out: what is allowed, and the two doors through which all of it goes."""
