"""Operating the database: connect, migrate, administer."""
