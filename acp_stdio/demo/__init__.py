"""The whole story on one machine: an IdP, a finance server and two people."""
