"""Making synthetic slices: masks, blanking, insertion and the two plain baselines."""
