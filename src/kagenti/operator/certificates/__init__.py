"""Certificates that the leading operator manages: makes them, keeps them in Secrets, publishes who signed them."""

from kagenti.operator.certificates.keeper import Assignment, Keeper, Requests
from kagenti.operator.certificates.part import ManagedCertificates

__all__ = ["Assignment", "Keeper", "ManagedCertificates", "Requests"]
