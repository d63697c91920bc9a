"""How the coordinator brings hospitals in: certificates, start-up kits, the list of sites, enrolment."""
