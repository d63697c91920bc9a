"""The study report: reference images and aggregates only."""
