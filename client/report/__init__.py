"""The site report: may show patients, stays in the hospital."""
