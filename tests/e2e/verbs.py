"""Which end-to-end tests show each verb of the command line as it should go, and as it most often goes wrong.

A new verb needs a row: tests/unit/cli/test_cli_verbs.py compares the table with the program, and looks each test up.
"""

from __future__ import annotations

from dataclasses import dataclass

CLI = "test_cli"
FAULTS = "test_cli_faults"
REPLAYS = "test_replays"
PAGE = "test_page"


@dataclass(frozen=True)
class Proof:
    """A verb's two tests, as `module::function`."""

    success: str
    failure: str


def _here(success: str, failure: str) -> Proof:
    return Proof(f"{CLI}::{success}", f"{CLI}::{failure}")


_STEERED = "test_session_is_paused_resumed_and_ended"
_STRANGER = "test_account_without_rights_is_refused_in_one_sentence"
_DID = "test_what_a_session_did_can_be_read"
_NOBODY = "test_record_of_nobody_is_told"
_CALLS = "test_calls_that_wait_are_listed_and_decided"
_FORKED = f"{REPLAYS}::test_a_deleted_session_is_forked_replayed_and_compared"
_NOT_FORKED = f"{REPLAYS}::test_what_cannot_be_forked_is_told_and_heals"

PROOFS: dict[str, Proof] = {
    "create": _here("test_create_prints_the_command_that_follows", "test_create_prints_the_command_that_follows"),
    "run": _here(
        "test_run_follows_and_its_exit_code_is_the_outcome", "test_run_follows_and_its_exit_code_is_the_outcome"
    ),
    "clone": Proof(_FORKED, _NOT_FORKED),
    "rerun": Proof(_FORKED, _NOT_FORKED),
    "chat": _here("test_chat_from_a_pipe_answers_each_line", "test_chat_from_a_pipe_answers_each_line"),
    "list": _here("test_list_and_get_show_what_there_is", _STRANGER),
    "get": _here("test_list_and_get_show_what_there_is", "test_list_and_get_show_what_there_is"),
    "approvals": _here(_CALLS, _STRANGER),
    "watch": _here("test_watch_prints_each_change", _STRANGER),
    "top": _here("test_figures_are_shown", _STRANGER),
    "ui": Proof(
        f"{PAGE}::test_ui_opens_the_page_on_which_a_session_is_watched_talked_to_and_paused",
        f"{PAGE}::test_ui_says_in_a_sentence_that_the_gateway_is_not_there",
    ),
    "stats": _here("test_figures_are_shown", _STRANGER),
    "logs": _here(_DID, _NOBODY),
    "steps": _here(_DID, _NOBODY),
    "messages": _here("test_messages_are_sent_and_listed", _NOBODY),
    "replay": _here(_DID, _NOBODY),
    "diff": _here("test_sessions_are_compared", "test_sessions_are_compared"),
    "verify": _here(_DID, _NOBODY),
    "export": _here("test_session_is_exported_lost_and_imported", _NOBODY),
    "import": _here("test_session_is_exported_lost_and_imported", "test_session_is_exported_lost_and_imported"),
    "send": _here("test_messages_are_sent_and_listed", "test_messages_are_sent_and_listed"),
    "pause": _here(_STEERED, _STEERED),
    "resume": _here(_STEERED, _STEERED),
    "cancel": _here("test_run_gives_up_in_time_and_the_session_goes_on", _STEERED),
    "shutdown": _here(_STEERED, _STEERED),
    "approve": _here(_CALLS, _CALLS),
    "deny": _here(_CALLS, _CALLS),
    "settle": Proof(f"{FAULTS}::test_call_in_doubt_is_settled", f"{CLI}::{_CALLS}"),
    "limits show": _here(
        "test_raised_limit_lets_a_session_go_on", "test_limits_of_nobody_and_of_what_is_over_are_refused"
    ),
    "limits set": _here(
        "test_raised_limit_lets_a_session_go_on", "test_limits_of_nobody_and_of_what_is_over_are_refused"
    ),
    "emergency-stop": _here("test_namespace_is_held_and_released", "test_stop_is_refused_to_who_may_not"),
    "wait": _here("test_wait_tells_reached_from_failed_from_late", "test_wait_tells_reached_from_failed_from_late"),
    "doctor": _here("test_doctor_says_what_is_well_and_what_to_do", "test_doctor_says_what_is_well_and_what_to_do"),
}
