"""One trainer a file, all of one shape (see ``trainer.py``)."""
