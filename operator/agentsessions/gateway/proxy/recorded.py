"""Answers of replays: those that the other session got. Nothing is bought, and nothing is charged."""

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.source import ReplayMode
from agentsessions.gateway.proxy.answer import Answer, Usage
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.patience import until_journaled
from agentsessions.journal import replays
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.store import Store

FREE = Usage(input_tokens=0, output_tokens=0)


def is_recorded(spec: SessionSpec) -> bool:
    """Return whether a session's answers are recorded ones."""
    return spec.replay is not None and spec.replay.mode in {None, ReplayMode.RECORDED}


async def find_recorded(store: Store, pod: PodIdentity, call_id: int) -> Answer:
    """Return the answer that the other session got in the step that is done again.

    Raises:
        ModelFault: It is gone.
    """
    found = await until_journaled(lambda: store.read(replays.find_answer, call_id))
    if found is None:
        message = (
            f"The step that {pod.namespace}/{pod.name} does again has no recorded answer any more: the other session "
            "was forgotten, or what it said was deleted. Replay a session that is still in the journal."
        )
        raise ModelFault(ErrorCode.MODEL_ERROR, message)
    calls = tuple(
        {"id": "", "type": "function", "function": {"name": tool.name, "arguments": tool.arguments}}
        for tool in found.tools
    )
    return Answer(found.text or "", calls, "tool_calls" if calls else "stop", FREE, created=0)
