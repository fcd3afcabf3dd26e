"""The request as the provider gets it: pure."""

from collections.abc import Mapping
from typing import Any

from agentsessions.api.v1alpha1.provider import ProviderModel
from agentsessions.gateway.proxy.checks import PASSED_ON, ModelRequest


def build_body(
    request: ModelRequest, model: ProviderModel, *, cap_tokens: int | None, original_ids: Mapping[str, str]
) -> dict[str, Any]:
    """Return the body for the provider.

    Args:
        request: What the pod asked for.
        model: The model, with the names the provider knows.
        cap_tokens: Most tokens that the answer may have; None when nothing limits it.
        original_ids: Call ids of ours to the provider's.
    """
    kept = {key: value for key, value in request.body.items() if key in PASSED_ON and value is not None}
    cap = {} if cap_tokens is None else {model.max_tokens_parameter.value: cap_tokens}
    return {
        **kept,
        **cap,
        "model": model.upstream_name or model.name,
        "messages": [_with_original_ids(message, original_ids) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _with_original_ids(message: Mapping[str, Any], original_ids: Mapping[str, str]) -> dict[str, Any]:
    changed = dict(message)
    call_id = message.get("tool_call_id")
    if isinstance(call_id, str):
        # A provider that sends empty ids does not read them either; ours keeps its answers apart.
        changed["tool_call_id"] = original_ids.get(call_id) or call_id
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        changed["tool_calls"] = [_call_with_original_id(call, original_ids) for call in calls]
    return changed


def _call_with_original_id(call: Any, original_ids: Mapping[str, str]) -> Any:
    if not isinstance(call, dict) or not isinstance(call.get("id"), str):
        return call
    return call | {"id": original_ids.get(call["id"]) or call["id"]}
