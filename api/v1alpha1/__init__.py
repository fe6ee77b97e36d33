"""kagenti.io/v1alpha1: four kinds, and the layered block that three of them share."""

from .agentcard import AgentCard
from .agentruntime import AgentRuntime
from .configs import AgentRuntimeClusterConfig, AgentRuntimeConfig
from .settings import RuntimeSettings

KINDS = (AgentRuntime, AgentCard, AgentRuntimeClusterConfig, AgentRuntimeConfig)

__all__ = ["KINDS", "AgentCard", "AgentRuntime", "AgentRuntimeClusterConfig", "AgentRuntimeConfig", "RuntimeSettings"]
