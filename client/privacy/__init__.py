"""Patient-level differential privacy at the hospital: who is drawn, what a step adds, and what it costs."""
