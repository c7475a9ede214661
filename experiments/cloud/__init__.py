"""The world `cloud`: peers on hosts that are reached by ssh, led from here."""
