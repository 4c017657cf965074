"""Which formats are kinds of others, by the ontologies that a document names as `$schemas`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from xml.etree import ElementTree

SIZE_LIMIT = 16 << 20
"""Bytes of an ontology that is read."""

_OTHER_LIMIT = 256 << 10
"""Bytes of one that isn't in XML, which takes much longer to read."""

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_RDFS = "http://www.w3.org/2000/01/rdf-schema#"
_OWL = "http://www.w3.org/2002/07/owl#"


class Ontologies:
    """What is known of formats.

    Args:
        places: of the ontologies, as URLs of files.

    Attributes:
        unread: whether there is one that couldn't be read, so that more may be true than is known.
    """

    def __init__(self, places: Iterable[str]) -> None:
        self._kinds: defaultdict[str, set[str]] = defaultdict(set)
        self.unread = False
        for place in sorted(set(places)):
            self.unread |= not self._read(Path(unquote(urlsplit(place).path)))

    def narrower(self, formats: Iterable[str]) -> list[str] | None:
        """All formats that are kinds of some, without these; None when that can't be known."""
        if self.unread:
            return None
        asked = list(formats)
        waiting, found = list(asked), set(asked)
        while waiting:
            for kind in self._kinds[waiting.pop()] - found:
                found.add(kind)
                waiting.append(kind)
        return sorted(found - set(asked))

    def _read(self, path: Path) -> bool:
        try:
            size = path.stat().st_size
        except OSError:
            return False
        if size > SIZE_LIMIT:
            return False
        try:
            pairs = list(_in_xml(path))
        except ElementTree.ParseError:
            if size > _OTHER_LIMIT:
                return False
            try:
                pairs = list(_in_turtle(path))
            except Exception:  # rdflib raises whatever it likes at odd files
                return False
        for narrow, broad in pairs:
            self._kinds[broad].add(narrow)
        return True


def named(place: str, document: Mapping[str, Any]) -> Iterator[str]:
    """The ontologies that a document names, as URLs."""
    schemas = document.get("$schemas")
    for schema in [schemas] if isinstance(schemas, str) else schemas or ():
        yield urljoin(urldefrag(place)[0], schema)


def _in_xml(path: Path) -> Iterator[tuple[str, str]]:
    for _, node in ElementTree.iterparse(path):  # noqa: S314  (an operator's file, and this process has limits)
        about = node.get(f"{_RDF}about")
        if about is None:
            continue
        for child in node:
            other = child.get(f"{_RDF}resource")
            if other is None:
                continue
            if child.tag == f"{{{_RDFS}}}subClassOf":
                yield about, other
            elif child.tag == f"{{{_OWL}}}equivalentClass":
                yield about, other
                yield other, about
        node.clear()


def _in_turtle(path: Path) -> Iterator[tuple[str, str]]:
    from rdflib import Graph, URIRef

    graph = Graph().parse(path, format="turtle")
    for relation in (f"{_RDFS}subClassOf", f"{_OWL}equivalentClass"):
        for narrow, _, broad in graph.triples((None, URIRef(relation), None)):
            yield str(narrow), str(broad)
            if relation.startswith(_OWL):
                yield str(broad), str(narrow)
