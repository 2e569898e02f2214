"""Experience's tables and the only place that speaks SQL."""
