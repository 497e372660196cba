"""Pure decisions: no SDK, no network, no clock."""
