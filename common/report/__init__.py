"""Page parts shared by the site report and the study report; never imported by the apps."""
