"""The admission webhook's process: HTTPS in, core's decision out; holds caches, writes nothing to the cluster."""

from kagenti.webhook.config import WebhookConfig
from kagenti.webhook.start import main, run

__all__ = ["WebhookConfig", "main", "run"]
