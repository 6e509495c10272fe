"""Telling webhooks: each try is a job of its own, so that no silent peer holds up the others.

A delivery is made at least once: after a crash in the wrong moment a peer hears it twice,
and knows by the ``id`` in the body.
"""

from __future__ import annotations

import logging
import random

from dbos import DBOS

from assay import __version__
from assay.storage import webhooks
from assay.worker import jobs, outbound

__all__ = ["run"]

log = logging.getLogger("assay.worker")


def run(delivery_id: str) -> str:
    """Make one try, and enter the next where it failed. Answers how it ended."""
    return attempt(delivery_id)


@DBOS.step(name="attempt")
def attempt(delivery_id: str) -> str:
    here = jobs.at_work()
    policy = here.webhooks
    with here.database.read() as c:
        delivery = webhooks.delivery(c, delivery_id)
        hook = webhooks.target(c, delivery.webhook_id) if delivery else None
    if delivery is None or delivery.status != "waiting":
        return delivery.status if delivery else "deleted"
    if hook is None:
        status, response, error = "given_up", None, "the webhook is switched off"
    else:
        status, response, error = _send(hook, delivery, policy, here.clock())
    tried = delivery.attempts + 1
    if status == "waiting" and tried >= policy.tries:
        status = "given_up"
    with here.database.write() as c:
        webhooks.note_try(
            c, delivery_id, at=here.clock(), status=status, response=response, error=error
        )
        if status == "waiting":
            # Peers that were down together are not all asked again at the same moment.
            delay = policy.delay(tried) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret
            here.jobs.deliver(c, delivery_id, tried=tried, delay=delay)
    log.info(
        "webhook told",
        extra={"delivery": delivery_id, "status": status, "response": response, "try": tried},
    )
    return status


def _send(
    hook: webhooks.Webhook, delivery: webhooks.Delivery, policy: outbound.Policy, at: float
) -> tuple[str, int | None, str]:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Assay/{__version__}",
        "Assay-Event": delivery.event,
        "Assay-Delivery": delivery.id,
        "Assay-Signature": webhooks.signature(hook.secret, delivery.body, at),
    }
    try:
        answer = outbound.post(hook.url, delivery.body.encode(), headers, policy)
    except outbound.Refused as error:
        return "given_up", None, str(error)
    except outbound.Unreachable as error:
        return "waiting", None, str(error)
    if answer.ok:
        return "delivered", answer.status, ""
    what = "; redirections are not followed" if 300 <= answer.status < 400 else ""
    return "waiting", answer.status, f"answered {answer.status}{what}"
