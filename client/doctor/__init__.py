"""``oncofed-client doctor``: looks at a site's data and machine before a study does. Nothing leaves the site."""
