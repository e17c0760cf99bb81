"""Does this backend know who is asking? What `check-backend` tries on a server, and what it concludes."""
