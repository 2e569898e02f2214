"""The node that runs code."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic_core import to_json

from runtime.handles import FromJsonText, JsonData, NoEdge, Values
from runtime.node import Node, Stage
from runtime.sandbox.programs import Language
from runtime.tools.code import MAX_S, run_code
from runtime.tools.record import record_use

_MARGIN_S = 1.0
"""Of the node's own time limit, so that what the code printed is still recorded."""
_LOG_LINES, _LOG_CHARS = 50, 1_000
"""Of each stream, in the execution's log; the outputs have all of it."""
_LANGUAGES = {"python": Language.PYTHON, "javascript": Language.NODE}


class CodeInputs(Values):
    """What to run, and on what."""

    language: Annotated[Literal["python", "javascript"], NoEdge()] = Field(
        default="python", alias="Language", description="Python 3 or JavaScript (Node), with its standard library."
    )
    code: Annotated[str, StringConstraints(min_length=1, max_length=200_000)] = Field(
        alias="Code",
        description=(
            "Reads the variable inputs. Python sets the variable result; JavaScript is the body of an async function "
            "and returns its result. There is no network, and no file but temporary ones."
        ),
    )
    inputs: Annotated[JsonData, FromJsonText] = Field(
        default=None, alias="Inputs", description="Any JSON value, given to the code as inputs."
    )
    timeout: Annotated[float, Field(gt=0, le=MAX_S)] = Field(
        default=MAX_S, alias="Timeout", description="Seconds that the code may take, at most 60."
    )


class CodeOutputs(Values):
    """What came of it."""

    result: JsonData = Field(alias="Result", description="The result as JSON; null where the code set none.")
    stdout: str = Field(alias="Stdout", description="What the code printed.")
    stderr: str = Field(alias="Stderr", description="What the code wrote to standard error.")


class RunCode(Node[CodeInputs, CodeOutputs]):
    """Runs code in the sandbox (spec T3). It reaches nothing outside, so running it twice does no harm."""

    type_id, title, group, icon = "run_code", "Run code", "Data", "code"
    description = "Runs Python or JavaScript in a sandbox without network, and puts out what it returns."
    credits = 2
    can_be_start_node = True
    runs_code = True

    async def run(self, inputs: CodeInputs, stage: Stage) -> CodeOutputs:
        """Run it, and log what it printed whatever came of it."""
        seconds = max(0.1, min(inputs.timeout, stage.seconds_left - _MARGIN_S))
        with record_use(stage, self.type_id, inputs.language) as moved:
            moved.sent = len(inputs.code.encode()) + len(to_json(inputs.inputs))
            language = _LANGUAGES[inputs.language]
            outcome = await run_code(
                stage.sandbox, language, inputs.code, inputs.inputs, seconds, tenant_id=stage.tenant_id
            )
            moved.received = outcome.received
            await _log(stage, "info", outcome.stdout)
            await _log(stage, "warning", outcome.stderr)
            if outcome.failure is not None:
                raise outcome.failure
        return CodeOutputs(result=outcome.result, stdout=outcome.stdout, stderr=outcome.stderr)


async def _log(stage: Stage, level: Literal["info", "warning"], text: str) -> None:
    lines = text.splitlines()
    for line in lines[:_LOG_LINES]:
        await stage.log(level, line[:_LOG_CHARS])
    if len(lines) > _LOG_LINES:
        await stage.log(level, f"… {len(lines) - _LOG_LINES} more lines")


NODES = (RunCode,)
