"""Sets structlog up: facts in the past tense as JSON lines, or coloured lines on a terminal. The daemon logs; the
command line says what people need by events, and stays quiet here.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from typing import TextIO

Style = Literal["auto", "json", "console"]
_LIBRARIES = (
    "dbos",
    "paramiko",
    "invoke",
    "fabric",
    "apscheduler",
    "sqlalchemy",
    "alembic",
    "asyncio",
    "uvicorn.error",
)


def quiet() -> None:
    """Silence the libraries: what they know comes out as our errors."""
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def set_up(*, style: Style = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Send structlog's and the libraries' records to `stream` (stderr), one line each."""
    import structlog
    from structlog.tracebacks import ExceptionDictTransformer

    out = stream or sys.stderr
    as_json = style == "json" or (style == "auto" and not out.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    # no local variables: a request's headers are among them, and with them a token
    as_data = ExceptionDictTransformer(show_locals=False)
    ending: list[Any] = (
        [structlog.processors.ExceptionRenderer(as_data), structlog.processors.JSONRenderer(sort_keys=True)]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def logger(name: str, **bound: object) -> Any:
    """A structlog logger with what does not change bound once: app, environment, rollout."""
    import structlog

    return structlog.get_logger(name, **bound)
