"""What a study searches and how it judges: spaces, objectives, samplers, pruners, importance."""
