"""Formats of files, as IRIs: which one an ending stands for, and which ones an input accepts."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable, Mapping

_EDAM = "http://edamontology.org/format_"
_IANA = re.compile(r"https?://www\.iana\.org/assignments/media-types/(?P<type>.+)")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "1476": (".pdb", ".ent"),
    "1477": (".cif", ".mmcif"),
    "1910": (".nwk", ".newick", ".tree", ".tre"),
    "1927": (".embl",),
    "1929": (".fasta", ".fa", ".fna", ".faa", ".ffn", ".fas"),
    "1930": (".fastq", ".fq"),
    "1936": (".gb", ".gbk", ".genbank"),
    "1975": (".gff3", ".gff"),
    "2306": (".gtf",),
    "2330": (".txt", ".text"),
    "2331": (".html", ".htm"),
    "2332": (".xml",),
    "2572": (".bam",),
    "2573": (".sam",),
    "3003": (".bed",),
    "3004": (".bb", ".bigbed"),
    "3005": (".wig",),
    "3006": (".bw", ".bigwig"),
    "3008": (".maf",),
    "3009": (".2bit",),
    "3016": (".vcf",),
    "3020": (".bcf",),
    "3244": (".mzml",),
    "3255": (".ttl",),
    "3256": (".nt",),
    "3261": (".rdf",),
    "3327": (".bai",),
    "3462": (".cram",),
    "3464": (".json",),
    "3468": (".xls",),
    "3475": (".tsv", ".tab"),
    "3508": (".pdf",),
    "3547": (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp"),
    "3549": (".nii",),
    "3579": (".jpg", ".jpeg"),
    "3590": (".h5", ".hdf5", ".hdf"),
    "3591": (".tif", ".tiff"),
    "3592": (".bmp",),
    "3603": (".png",),
    "3604": (".svg",),
    "3620": (".xlsx",),
    "3621": (".sqlite", ".db"),
    "3650": (".nc", ".netcdf"),
    "3700": (".tbi",),
    "3750": (".yaml", ".yml"),
    "3752": (".csv",),
    "3981": (".tar",),
    "3987": (".zip",),
    "3989": (".gz", ".gzip"),
    "3996": (".py",),
    "3998": (".pl",),
    "3999": (".r",),
    "4000": (".rmd",),
}
"""Usual endings of the formats of EDAM, by their numbers."""


def endings(formats: Iterable[str]) -> dict[str, str]:
    """The usual endings of some formats, each with the one that it stands for. What several have stands for none."""
    found: dict[str, str] = {}
    double = set()
    for iri in formats:
        for ending in _endings(iri):
            if found.setdefault(ending, iri) != iri:
                double.add(ending)
    return {ending: iri for ending, iri in sorted(found.items()) if ending not in double}


def of_name(name: str, formats: Iterable[str]) -> str | None:
    """The one of some formats that a file's name stands for, if that can be told. What is compressed has the format of
    its content, unless that of the compression is among them."""
    known = endings(formats)
    name = name.lower()
    bare = next((name.removesuffix(ending) for ending in _COMPRESSED if name.endswith(ending)), name)
    for each in (name, bare):
        for ending in sorted(known, key=len, reverse=True):
            if each.endswith(ending) and len(each) > len(ending):
                return known[ending]
    return None


def written_out(text: str, namespaces: Mapping[str, str]) -> str:
    """A format with its prefix written out, where that is one of the workflow's."""
    prefix, colon, rest = text.partition(":")
    return namespaces[prefix] + rest if colon and prefix in namespaces and not rest.startswith("//") else text


def _endings(iri: str) -> Iterable[str]:
    if iri.startswith(_EDAM):
        return _ENDINGS.get(iri.removeprefix(_EDAM), ())
    if media := _IANA.fullmatch(iri):
        return mimetypes.guess_all_extensions(media["type"])
    return ()
