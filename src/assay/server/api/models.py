"""The networks that look, as their cards describe them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from assay import __version__
from assay.models import available, card
from assay.server.access import Asker
from assay.server.api.shapes import PROBLEM_RESPONSES

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["models"], responses=PROBLEM_RESPONSES)


@router.get("/models")
def models(who: Asker) -> dict[str, Any]:
    """Version of the program, and of each network its card: data, metrics, limits."""
    return {"engine": __version__, "models": [card(key).facts() for key in available()]}
