"""Names that come from data, as messages to translate: verdicts, states, roles, scopes.

Templates say ``_(words.VERDICTS[verdict])``; the test of the catalogues collects the values.
"""

from __future__ import annotations

from collections.abc import Mapping

from assay.report import provenance_panel, wording

__all__ = [
    "ALL",
    "CLAIMS",
    "DELIVERIES",
    "ENTRIES",
    "ENTRY_NOTES",
    "ERRORS",
    "EVENTS",
    "KINDS",
    "KIND_NOTES",
    "MEDIA",
    "OTHERS",
    "PROBLEMS",
    "REVIEW_ACTIONS",
    "REVIEW_STATES",
    "ROLES",
    "ROLE_NOTES",
    "SCOPES",
    "SETTINGS",
    "STAGES",
    "STATUSES",
    "VERDICTS",
    "stage",
    "tone",
]

VERDICTS: Mapping[str, str] = {str(k): v for k, v in wording.VERDICTS.items()}
KINDS: Mapping[str, str] = {str(k): v for k, v in wording.KINDS.items()}
KIND_NOTES: Mapping[str, str] = {str(k): v for k, v in wording.KIND_NOTES.items()}
CLAIMS: Mapping[str, str] = {str(k): v for k, v in wording.CLAIMS.items()}

MEDIA: Mapping[str, str] = {"image": "Image", "video": "Video", "audio": "Sound"}

STATUSES: Mapping[str, str] = {
    "queued": "Waiting",
    "running": "Being examined",
    "done": "Done",
    "failed": "Could not be examined",
    "cancelled": "Cancelled",
}

STAGES: Mapping[str, str] = {
    "decode": "Opening the file",
    "provenance": "Reading where it says it comes from",
    "image": "Examining the picture",
    "video": "Examining the video",
    "audio": "Listening to the sound",
    "report": "Writing the report",
}
"""By the part of an analyzer's name before the dot."""

REVIEW_STATES: Mapping[str, str] = {
    "none": "Not asked for",
    "open": "Waits for a reviewer",
    "second": "Waits for a second reviewer",
    "done": "Reviewed",
}

REVIEW_ACTIONS: Mapping[str, str] = {
    "request": "asked for a review",
    "confirm": "confirmed the verdict",
    "overrule": "overruled the verdict",
    "second_opinion": "asked for a second opinion",
    "appeal": "appealed",
    "answer": "answered the appeal",
}

ROLES: Mapping[str, str] = {
    "owner": "Owner",
    "reviewer": "Reviewer",
    "analyst": "Analyst",
    "viewer": "Viewer",
}

ROLE_NOTES: Mapping[str, str] = {
    "owner": "Everything, with users and settings",
    "reviewer": "Sees all analyses, examines files, judges in review",
    "analyst": "Examines files, sees only their own, may ask for review and appeal",
    "viewer": "Sees all analyses, changes nothing",
}

SCOPES: Mapping[str, str] = {
    "analyses:read": "Read analyses and reports",
    "analyses:write": "Submit, cancel and delete analyses",
    "reviews:read": "Read reviews",
    "reviews:write": "Ask for reviews and judge",
    "webhooks:write": "Manage webhooks",
    "admin": "Administer the server",
}

EVENTS: Mapping[str, str] = {
    "analysis.done": "An analysis is done",
    "analysis.failed": "A file could not be examined",
    "review.done": "A person has judged",
}

DELIVERIES: Mapping[str, str] = {
    "waiting": "To be sent",
    "delivered": "Delivered",
    "given_up": "Given up",
}

ERRORS: Mapping[str, str] = {
    "NotMedia": "This is not an image, video or sound file.",
    "Unsupported": "This kind of file is not supported.",
    "Corrupt": "The file is damaged.",
    "TooLarge": "The file is larger than this server examines.",
    "AnalysisTimeout": "The examination took too long and was stopped.",
    "AnalysisCrashed": "The examination ended unexpectedly.",
}
"""First sentence for a file that could not be examined; the cause follows in English."""

PROBLEMS: Mapping[str, str] = {
    "bad-request": "The request cannot be understood.",
    "unauthorized": "Please log in.",
    "forbidden": "Your account may not do this.",
    "csrf": "The page was out of date. Load it again and repeat what you did.",
    "not-found": "There is nothing at this address, or it is not yours to see.",
    "method-not-allowed": "This cannot be done here.",
    "conflict": "This no longer fits: somebody was faster, or the state has changed.",
    "not-ready": "The examination has not ended yet.",
    "gone": "This has been deleted.",
    "too-large": "The file is too large.",
    "invalid": "Something in the form is not valid.",
    "too-many-requests": "Too many requests. Wait a little and try again.",
    "queue-full": "Too many files are waiting. Try again when some are done.",
    "internal": "The server made a mistake. It has been noted.",
    "unavailable": "The server cannot do this just now.",
    "storage-full": "The server has no room left for files.",
}

SETTINGS: Mapping[str, str] = {
    "keys": "Keys",
    "webhooks": "Webhooks",
    "users": "Users",
    "server": "Files and verdicts",
    "audit": "Audit log",
    "deliveries": "Messages sent",
}

ENTRIES: Mapping[str, str] = {
    "setup": "Set up this server",
    "invite": "Welcome",
    "password": "New password",
}

ENTRY_NOTES: Mapping[str, str] = {
    "setup": "You will be its first owner. The link works once.",
    "invite": "Choose a password to use your account.",
    "password": "It replaces the old one; other sessions end.",
}

OTHERS: Mapping[str, str] = {
    "stage": "Examining",
    "call": wording.NOT_CALLED,
    "paste": "Ctrl+V",
    **{name: name for name in provenance_panel.ROWS},
}

ALL: tuple[Mapping[str, str], ...] = (
    VERDICTS,
    KINDS,
    KIND_NOTES,
    CLAIMS,
    MEDIA,
    STATUSES,
    STAGES,
    REVIEW_STATES,
    REVIEW_ACTIONS,
    ROLES,
    ROLE_NOTES,
    SCOPES,
    EVENTS,
    DELIVERIES,
    ERRORS,
    PROBLEMS,
    SETTINGS,
    ENTRIES,
    ENTRY_NOTES,
    OTHERS,
)
"""Everything here that is shown."""

_TONES = {
    "authentic": "for",
    "suspicious": "doubt",
    "manipulated": "against",
    "synthetic": "against",
}


def tone(verdict: str | None) -> str:
    """Class of colour of a verdict."""
    return _TONES.get(verdict or "", "neutral")


def stage(name: str) -> str:
    """What is being done, as a message; ``name`` is a stage of :mod:`assay.pipeline`."""
    return STAGES.get(name.partition(".")[0], OTHERS["stage"])
