"""Which app bundles may run at this hospital: those it has looked at, and the release that it has installed."""
