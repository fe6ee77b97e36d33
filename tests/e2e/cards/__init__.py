"""AgentCards on the real control plane, against real HTTP agents and hostile ones."""
