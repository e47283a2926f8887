"""Stand-ins for what today's libraries no longer have; `compat` installs them, importing does nothing."""
