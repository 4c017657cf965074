"""Which of the workflows with one id is published by it, if any."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

from hpcwaas.engines.cwl.workflows.manifest import MANIFEST
from hpcwaas.engines.cwl.workflows.metadata import Entry, Unusable
from hpcwaas.engines.cwl.workflows.named import or_named


def without_clashes(told: Iterable[Entry | Unusable], known: Collection[tuple[str, str]]) -> list[Entry | Unusable]:
    """Decides between those with one id.

    What lies at the top was published before there was anything else, so it comes first, unless another one has
    been published by the id; otherwise all of them are refused. Whose names an id can have go before all others.

    Args:
        known: sources and ids of what was published or withheld so far.
    """
    by_id: dict[str, list[Entry | Unusable]] = defaultdict(list)
    for each in told:
        by_id[each.id].append(each)
    found: list[Entry | Unusable] = []
    for workflow_id, all_of_them in by_id.items():
        rivals = [each for each in all_of_them if not each.made]
        found += _without_made_clashes(all_of_them)
        first = [each for each in rivals if each.source.removesuffix("/").count("/") == 0]
        old = [each for each in rivals if (each.source, workflow_id) in known]
        winner = first[0] if len(first) == 1 and (not old or first[0] in old) else None
        for each in rivals:
            if len(rivals) == 1 or each is winner or isinstance(each, Unusable):
                found.append(each)
                continue
            label = each.metadata if each.source == MANIFEST else each.source
            # Two that the catalogue file names may be for different users: nobody is meant for sure.
            twice = sum(other.source == each.source for other in rivals) > 1
            reason = f"{label}: another entry has the id {workflow_id} too"
            found.append(Unusable(workflow_id, each.source, reason, None if twice else each))
    return found


def others_of(entry: Entry, rivals: Sequence[Entry | Unusable]) -> str:
    """The files of an entry's rivals, of many only some.

    Args:
        rivals: all that have its id, itself included.
    """
    others = [each for each in rivals[:4] if each is not entry][:3]
    names = [each.main if isinstance(each, Entry) else each.source for each in others]
    more = len(rivals) - 1 - len(names)
    return " and ".join([*names, *([f"{more} more"] if more else [])])


def _without_made_clashes(rivals: Sequence[Entry | Unusable]) -> Iterator[Entry | Unusable]:
    """Those of one id whose names an id can't have; they are refused if there is another one."""
    sources = Counter(each.source for each in rivals)
    for number, each in enumerate((each for each in rivals if each.made), 2):
        if len(rivals) == 1 or isinstance(each, Unusable):
            yield each
            continue
        names = others_of(each, rivals)
        another = or_named(each.main, f"{each.id[:96]}-{number}")
        reason = f"{each.main}: would have the id {each.id}, which is also that of {names}; rename it{another}"
        yield Unusable(each.id, each.source, reason, None if sources[each.source] > 1 else each, made=True)
