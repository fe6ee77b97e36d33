"""AgentCards: cards are fetched from pods, and kept in status."""

from kagenti.operator.cards.part import AgentCards

__all__ = ["AgentCards"]
