"""The HTTP application over any set of ports: the real ones, or a test's."""

from pathlib import Path

import orjson
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from services.api_edge.domain.catalogue import Catalogue
from services.api_edge.domain.flows import Flows
from services.api_edge.domain.messages import Messages
from services.api_edge.openapi import Description
from services.api_edge.parts import EdgePorts, EdgeRules
from services.api_edge.problems import Problems
from services.api_edge.routers import EdgeRouters
from services.api_edge.routes.failures import install_failures
from services.api_edge.routes.middleware import AnswerHeaders, BodyLimit, RequestLog
from services.api_edge.routes.tracing import Traced

_DATA = Path(__file__).parent / "data"
_EXPOSED = (
    *("Latchkey-Run-Id", "Latchkey-Key-Source", "Latchkey-Cost", "Location", "Content-Language"),
    *(
        "X-Request-Id",
        "X-Should-Retry",
        "Retry-After",
        "RateLimit-Limit",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "RateLimit-Policy",
    ),
)


def create_api(ports: EdgePorts, rules: EdgeRules) -> ASGIApp:
    problems = Problems(Messages.read((_DATA / "messages.json").read_bytes()), rules.settings_url)
    app = FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,
        title="Latchkey",
        description="Runs language models with your own provider keys, or with credits.",
        version="1",
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    install_failures(app, problems)
    catalogue = Catalogue.read((_DATA / "catalogue.json").read_bytes())
    for router in EdgeRouters(ports, rules, problems, catalogue, shipped_flows()).all():
        app.include_router(router)
    Description(problems, orjson.loads((_DATA / "examples.json").read_bytes())).install(app)
    if rules.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=rules.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=_EXPOSED,
        )
    logged = RequestLog(AnswerHeaders(BodyLimit(app, rules.body_bytes_max)), ports.note_request)
    return Traced(logged, ports.tracing) if ports.tracing.is_on else logged


def shipped_flows() -> Flows:
    return Flows.read((_DATA / "flows.json").read_bytes())
