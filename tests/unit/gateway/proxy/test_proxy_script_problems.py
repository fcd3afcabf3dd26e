"""What `script_problems` finds before a script is played."""

import pytest

from agentsessions.api.v1alpha1.script import Script
from agentsessions.lifecycle.scripts import script_problems


def a_script(answer: dict[str, object], when: dict[str, object] | None = None) -> Script:
    return Script.model_validate({"rules": [{"name": "first", "answer": answer} | ({"when": when} if when else {})]})


@pytest.mark.parametrize(
    ("script", "part"),
    [
        pytest.param(a_script({"text": "x"}, {"text": "("}), "when.text is not a regular", id="broken text pattern"),
        pytest.param(a_script({"text": "x"}, {"lastResult": "[a"}), "when.lastResult", id="broken result pattern"),
        pytest.param(a_script({"text": "x"}, {"agent": "*"}), "when.agent", id="broken agent pattern"),
        pytest.param(a_script({"text": "x"}, {"model": "+"}), "when.model", id="broken model pattern"),
        pytest.param(
            a_script({"text": "x", "capture": [{"name": "a", "pattern": "("}]}), "capture 'a'", id="broken capture"
        ),
        pytest.param(a_script({"text": "it is ${total}"}), "${total} quotes a name", id="unknown quote in the text"),
        pytest.param(
            a_script({"toolCalls": [{"name": "shell", "arguments": {"a": [{"b": "${total}"}]}}]}),
            "${total} quotes a name",
            id="unknown quote deep in arguments",
        ),
        pytest.param(a_script({"text": "${result[0]}"}), "quotes result 0", id="results count from one"),
        pytest.param(
            a_script({"text": "x", "capture": [{"name": "goal", "pattern": "x"}]}), "reserved", id="reserved name"
        ),
        pytest.param(
            a_script({"text": "x", "capture": [{"name": "a", "pattern": "x"}, {"name": "a", "pattern": "y"}]}),
            "there twice",
            id="one name twice",
        ),
        pytest.param(
            a_script({"text": "x", "capture": [{"name": "a", "pattern": "x", "result": 0}]}),
            "reads result 0",
            id="capture of result zero",
        ),
        pytest.param(a_script({"error": {"cutAfterCharacters": 3}}), "add text", id="nothing to cut"),
        pytest.param(a_script({"text": "x", "error": {}}), "needs one of", id="an error of no kind"),
        pytest.param(
            a_script({"text": "x", "error": {"status": 500, "cutAfterCharacters": 1}}), "needs one of", id="two kinds"
        ),
        pytest.param(
            a_script({"toolCalls": [{"name": "shell", "arguments": {}, "rawArguments": "{"}]}),
            "keep one",
            id="arguments twice",
        ),
    ],
)
def test_script_problems_name_rule_and_part(script: Script, part: str) -> None:
    (problem,) = script_problems(script)

    assert problem.startswith("rule first: ")
    assert part in problem


def test_script_problems_of_a_sound_script_are_none() -> None:
    script = a_script(
        {
            "text": "${goal} ${result[-1]} ${sum} and shell's own ${HOME} ${x:-1}",
            "capture": [{"name": "sum", "pattern": "sum=(\\d+)"}],
            "error": {"cutAfterCharacters": 3},
        },
        {"text": "^do", "step": 1},
    )

    assert script_problems(script) == []


def test_script_problems_number_rules_without_a_name() -> None:
    script = Script.model_validate(
        {"rules": [{"answer": {"text": "x"}}, {"when": {"text": "("}, "answer": {"text": "x"}}]}
    )

    assert script_problems(script)[0].startswith("rule 2: ")
