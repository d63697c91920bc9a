"""Keys that had another name in an earlier release: they are refused, with the name that they have now."""

RENAMED = {
    "clip": "max_grad_norm",
    "filled_beside": "decoy_inpainting",
    "from_surroundings": "init_from_context",
    "gradients": "grad_sample_mode",
    "organs_alike": "balance_organs",
    "own_prevalence": "logit_adjustment",
    "patients_per_step": "expected_batch_size",
    "steps_share": "dp_step_fraction",
    "tuning_steps": "finetune_steps",
}
"""By the last part of the old key."""
