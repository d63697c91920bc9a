"""What the hospital allows: actions, models, hours, memory, and how much has to stand behind an update."""
