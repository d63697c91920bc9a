"""How a hospital joins a federation: its kit is checked, its key is made here, the public half is enrolled."""
