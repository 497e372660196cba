"""Content types of a site's files, from a table of our own. Pure.

The platform's table (`mimetypes`) differs from machine to machine, which would make equal sites different; this one
does not. Text says its charset: `utf-8` where its bytes are that, else what the page itself declares, else nothing, so that the
browser looks for itself.

Source: RFC 9239 (JavaScript), RFC 8081 (fonts), W3C "Web Application Manifest", IANA media types (`media_types.txt`, kept beside this
file, is Debian's public table of them); WHATWG HTML, "Determining the character encoding" (the first 1,024 bytes).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType

UNKNOWN = "application/octet-stream"
_UTF8 = "; charset=utf-8"

TYPES: Mapping[str, str] = MappingProxyType(
    {
        # text
        ".css": "text/css" + _UTF8,
        ".csv": "text/csv" + _UTF8,
        ".conf": "text/plain" + _UTF8,
        ".htm": "text/html" + _UTF8,
        ".html": "text/html" + _UTF8,
        ".ics": "text/calendar" + _UTF8,
        ".ini": "text/plain" + _UTF8,
        ".js": "text/javascript" + _UTF8,
        ".log": "text/plain" + _UTF8,
        ".markdown": "text/markdown" + _UTF8,
        ".md": "text/markdown" + _UTF8,
        ".mjs": "text/javascript" + _UTF8,
        ".cjs": "text/javascript" + _UTF8,
        ".tsv": "text/tab-separated-values" + _UTF8,
        ".rs": "text/plain" + _UTF8,
        ".txt": "text/plain" + _UTF8,
        ".vcf": "text/vcard" + _UTF8,
        ".vtt": "text/vtt" + _UTF8,
        ".yaml": "application/yaml" + _UTF8,
        ".yml": "application/yaml" + _UTF8,
        # structured text
        ".atom": "application/atom+xml" + _UTF8,
        ".geojson": "application/geo+json" + _UTF8,
        ".json": "application/json" + _UTF8,
        ".jsonld": "application/ld+json" + _UTF8,
        ".map": "application/json" + _UTF8,
        ".rss": "application/rss+xml" + _UTF8,
        ".webmanifest": "application/manifest+json" + _UTF8,
        ".opml": "text/x-opml+xml" + _UTF8,
        ".xhtml": "application/xhtml+xml" + _UTF8,
        ".xml": "application/xml" + _UTF8,
        ".xsl": "application/xslt+xml" + _UTF8,
        # images
        ".apng": "image/apng",
        ".avif": "image/avif",
        ".bmp": "image/bmp",
        ".cur": "image/x-icon",
        ".gif": "image/gif",
        ".heic": "image/heic",
        ".ico": "image/x-icon",
        ".jpeg": "image/jpeg",
        ".jpg": "image/jpeg",
        ".jxl": "image/jxl",
        ".png": "image/png",
        ".svg": "image/svg+xml" + _UTF8,
        ".tif": "image/tiff",
        ".tiff": "image/tiff",
        ".webp": "image/webp",
        # fonts
        ".eot": "application/vnd.ms-fontobject",
        ".otf": "font/otf",
        ".ttc": "font/collection",
        ".ttf": "font/ttf",
        ".woff": "font/woff",
        ".woff2": "font/woff2",
        # sound and film
        ".3gp": "video/3gpp",
        ".aac": "audio/aac",
        ".flac": "audio/flac",
        ".m2ts": "video/mp2t",
        ".m4a": "audio/mp4",
        ".m4v": "video/mp4",
        ".mid": "audio/midi",
        ".midi": "audio/midi",
        ".mov": "video/quicktime",
        ".mp3": "audio/mpeg",
        ".mp4": "video/mp4",
        ".oga": "audio/ogg",
        ".ogg": "audio/ogg",
        ".ogv": "video/ogg",
        ".opus": "audio/ogg",
        ".ts": "video/mp2t",  # of an HLS stream; TypeScript is built before it is published
        ".wav": "audio/wav",
        ".weba": "audio/webm",
        ".webm": "video/webm",
        # documents, archives, programs
        ".br": UNKNOWN,
        ".bz2": "application/x-bzip2",
        ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ".epub": "application/epub+zip",
        ".glb": "model/gltf-binary",
        ".gltf": "model/gltf+json",
        ".gpx": "application/gpx+xml" + _UTF8,
        ".gz": "application/gzip",
        ".key": "application/vnd.apple.keynote",
        ".onnx": UNKNOWN,
        ".pdf": "application/pdf",
        ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        ".rtf": "application/rtf",
        ".tar": "application/x-tar",
        ".tgz": "application/gzip",
        ".toml": "application/toml" + _UTF8,
        ".wasm": "application/wasm",
        ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ".zip": "application/zip",
    }
)

# Files that have no extension by convention.
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "apple-app-site-association": "application/json" + _UTF8,
        "cname": "text/plain" + _UTF8,
        "license": "text/plain" + _UTF8,
        "readme": "text/plain" + _UTF8,
    }
)

# First bytes of what frameworks write without an extension (Next's generated `icon` and `opengraph-image`, for example).
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"wOF2", "font/woff2"),
    (b"wOFF", "font/woff"),
    (b"OTTO", "font/otf"),
    (b"\x00asm", "application/wasm"),
)

_TEXT_OPENINGS: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "text/html" + _UTF8),
    (b"<html", "text/html" + _UTF8),
    (b"<svg", "image/svg+xml" + _UTF8),
    (b"<?xml", "application/xml" + _UTF8),
    (b"{", "application/json" + _UTF8),
    (b"[", "application/json" + _UTF8),
)


# What is compressed already, for browsers to unpack: its type is that of the name without the ending. What people download compressed
# (archives, data, sitemaps) stays as it is.
_ENCODINGS: Mapping[str, str] = MappingProxyType({".br": "br", ".gz": "gzip"})
_PACKED = frozenset((".js", ".mjs", ".css", ".wasm", ".html", ".svg", ".data", ".symbols", ".json", ".mem", ".webmanifest"))
_GZIP = b"\x1f\x8b"

_DECLARED = (
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{2,40})|<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{2,40})|"""
    rb"""\A@charset "([\w.:-]{2,40})";"""
)
_LOOKED_AT = 1024
_SEVEN_BITS = frozenset(("iso-2022-jp", "iso-2022-kr", "hz-gb-2312"))
"""Written in ASCII's bytes, which are no ASCII text."""


def content_type(path: str, data: bytes = b"") -> str:
    """The Content-Type of a site's file.

    Args:
        path: the file's path below the site's root, with `/`.
        data: its content, or its beginning. It decides the type only when the name has no extension that we know.
    """
    return with_charset(type_of(path, data), (data,))


def type_of(path: str, data: bytes = b"") -> str:
    """The type by name, with `charset=utf-8` for whatever is text; see `with_charset`."""
    name = PurePosixPath(path).name.lower()
    inner, encoding = unpacked(name, data)
    suffix = PurePosixPath(inner).suffix
    if encoding and suffix == ".data":
        return UNKNOWN
    return TYPES.get(suffix) or _registered().get(suffix) or _NAMES.get(inner) or (UNKNOWN if encoding else _sniffed(data))


def unpacked(path: str, data: bytes) -> tuple[str, str]:
    """The name without the ending of a compression that browsers undo, and that Content-Encoding; the name and nothing else."""
    if path.endswith(".svgz"):
        return path[:-1], "gzip" if data.startswith(_GZIP) else ""
    inner, dot, ending = path.rpartition(".")
    encoding = _ENCODINGS.get(dot + ending, "")
    known = PurePosixPath(inner).suffix in _PACKED and (encoding == "br" or data.startswith(_GZIP))
    return (inner, encoding) if encoding and known else (path, "")


def content_encoding(path: str, data: bytes) -> str:
    """The Content-Encoding of a file that was compressed by the build (`app.wasm.br`, `game.data.gz`); empty for all others."""
    return unpacked(path.lower(), data)[1] if path[-5:].lower().endswith((".br", ".gz", ".svgz")) else ""


def with_charset(kind: str, pieces: Iterable[bytes]) -> str:
    """A type that says `utf-8`, as it is where the bytes are that, else with the charset that they declare, else with none.

    Args:
        kind: a Content-Type.
        pieces: the whole content, in order.
    """
    bare = kind.removesuffix(_UTF8)
    if bare == kind:
        return kind
    decoder = codecs.getincrementaldecoder("utf-8")()
    first, plain, shifted = b"", True, False
    try:
        for piece in pieces:
            first = first or piece
            plain = plain and piece.isascii()
            shifted = shifted or b"\x1b" in piece or b"~{" in piece
            if not plain:
                decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        declared = _declared(first)
        return f"{bare}; charset={declared}" if declared not in ("", "utf-8") else bare
    declared = _declared(first) if plain and shifted else ""
    return f"{bare}; charset={declared}" if declared in _SEVEN_BITS else kind


def _declared(data: bytes) -> str:
    """The charset that a page, an XML document or a style sheet names itself, where it is one that exists."""
    head = data[:_LOOKED_AT].lower()
    if b"charset" not in head and b"encoding" not in head:
        return ""
    found = re.search(_DECLARED, head)
    name = next(filter(None, found.groups()), b"").decode("ascii", "replace") if found else ""
    try:
        return "utf-8" if codecs.lookup(name).name == "utf-8" else name
    except LookupError:
        return ""


@lru_cache(maxsize=1)
def _registered() -> Mapping[str, str]:
    """The kept table; text and XML and JSON say their charset."""
    found: dict[str, str] = {}
    for line in Path(__file__).with_name("media_types.txt").read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            kind, *suffixes = line.split()
            text = kind.startswith("text/") or kind.endswith(("+xml", "+json"))
            found.update((f".{suffix}", kind + _UTF8 if text else kind) for suffix in suffixes)
    return found


def _sniffed(head: bytes) -> str:
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    opening = head[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf").lstrip()[:32].lower()
    return next((kind for text, kind in _TEXT_OPENINGS if opening.startswith(text)), UNKNOWN)
