"""An agent made with the A2A SDK, as its documentation does it: ``python -m tests.e2e.cards.a2a_agent HOST PORT``."""

import sys

import uvicorn
from a2a.server.routes import create_agent_card_routes
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from starlette.applications import Starlette

CARD = AgentCard(
    name="Weather Intelligence Agent",
    description="Provides weather forecasts and current conditions",
    version="2.1.0",
    supported_interfaces=[
        AgentInterface(url="http://weather:8081", protocol_binding="JSONRPC", protocol_version="1.0")
    ],
    capabilities=AgentCapabilities(streaming=True),
    default_input_modes=["text/plain"],
    default_output_modes=["application/json"],
    skills=[AgentSkill(id="get_forecast", name="get_forecast", description="Get weather forecast", tags=["weather"])],
)

if __name__ == "__main__":
    app = Starlette(routes=create_agent_card_routes(CARD))
    uvicorn.run(app, host=sys.argv[1], port=int(sys.argv[2]), log_level="warning")
