"""Doing the same with several ids, whether or not it works for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .errors import ExitCode, Unauthorized, WaasError
from .state import State


def each(state: State, ids: Sequence[str], act: Callable[[str], object], *, done: str, fail: str) -> None:
    """Calls `act` with every id, and says for each whether it worked.

    Args:
        done, fail: the words for it: `Deleted file`, `delete file`.

    Raises:
        WaasError: some did not work; raised when all have been tried.
    """
    failures: list[tuple[str, WaasError]] = []
    for one in ids:
        try:
            act(one)
        except WaasError as failure:
            failures.append((one, failure))
            if not state.wants_json:
                state.note(f'ERROR: Failed to {fail} "{one}"...')
            if isinstance(failure, Unauthorized):
                break  # the others would get the same answer
        else:
            state.line(f'SUCCESS: {done} "{one}"')
    if len(ids) == len(failures) == 1:
        raise failures[0][1]
    if failures:
        codes = {failure.code for _, failure in failures}
        raise WaasError(
            " ".join(f"{one}: {failure.message}" for one, failure in failures),
            code=ExitCode(codes.pop()) if len(codes) == 1 else ExitCode.ERROR,
            hint=next((failure.hint for _, failure in failures if failure.hint), None),
        )
