"""Serving certificates that kagenti manages itself: what stands in two Secrets → the next step, and who is to be trusted.

``certificate`` reads PEM, ``material`` reads the Secrets, ``lifecycle`` decides, ``registration`` reads and patches the caBundle.
Keys are made and signed with in the operator alone.
"""

from kagenti.core.certificates.certificate import Certificate, leads_to, of, pem_of, read
from kagenti.core.certificates.lifecycle import BACKDATED, WEBHOOK, XDS, Decision, Rules, Step, decide
from kagenti.core.certificates.material import BUNDLE, CERTIFICATE, KEY, NEXT_CERTIFICATE, NEXT_KEY, Held, held
from kagenti.core.certificates.registration import bundle_of, near_expiry, patch_of

__all__ = [
    "BACKDATED",
    "BUNDLE",
    "CERTIFICATE",
    "KEY",
    "NEXT_CERTIFICATE",
    "NEXT_KEY",
    "WEBHOOK",
    "XDS",
    "Certificate",
    "Decision",
    "Held",
    "Rules",
    "Step",
    "bundle_of",
    "decide",
    "held",
    "leads_to",
    "near_expiry",
    "of",
    "patch_of",
    "pem_of",
    "read",
]
