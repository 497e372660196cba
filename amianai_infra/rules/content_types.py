"""Content types of a site's files, from a table of our own. Pure.

The platform's table (`mimetypes`) differs from machine to machine, which would make equal sites different; this one
does not, and it says `charset=utf-8` wherever text is text.

Source: RFC 9239 (JavaScript), RFC 8081 (fonts), W3C "Web Application Manifest", IANA media types.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

UNKNOWN = "application/octet-stream"
_UTF8 = "; charset=utf-8"

TYPES: Mapping[str, str] = MappingProxyType(
    {
        # text
        ".css": "text/css" + _UTF8,
        ".csv": "text/csv" + _UTF8,
        ".htm": "text/html" + _UTF8,
        ".html": "text/html" + _UTF8,
        ".ics": "text/calendar" + _UTF8,
        ".js": "text/javascript" + _UTF8,
        ".log": "text/plain" + _UTF8,
        ".markdown": "text/markdown" + _UTF8,
        ".md": "text/markdown" + _UTF8,
        ".mjs": "text/javascript" + _UTF8,
        ".cjs": "text/javascript" + _UTF8,
        ".tsv": "text/tab-separated-values" + _UTF8,
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
        ".aac": "audio/aac",
        ".flac": "audio/flac",
        ".m4a": "audio/mp4",
        ".m4v": "video/mp4",
        ".mov": "video/quicktime",
        ".mp3": "audio/mpeg",
        ".mp4": "video/mp4",
        ".oga": "audio/ogg",
        ".ogg": "audio/ogg",
        ".ogv": "video/ogg",
        ".opus": "audio/ogg",
        ".wav": "audio/wav",
        ".weba": "audio/webm",
        ".webm": "video/webm",
        # documents, archives, programs
        ".br": UNKNOWN,
        ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ".epub": "application/epub+zip",
        ".glb": "model/gltf-binary",
        ".gltf": "model/gltf+json",
        ".gz": "application/gzip",
        ".onnx": UNKNOWN,
        ".pdf": "application/pdf",
        ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        ".rtf": "application/rtf",
        ".tar": "application/x-tar",
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


def content_type(path: str, head: bytes = b"") -> str:
    """The Content-Type of a site's file.

    Args:
        path: the file's path below the site's root, with `/`.
        head: its first bytes; they decide only when the name has no extension that we know.
    """
    name = PurePosixPath(path).name.lower()
    suffix = PurePosixPath(name).suffix
    return TYPES.get(suffix) or _NAMES.get(name) or _sniffed(head)


def _sniffed(head: bytes) -> str:
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    opening = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:32].lower()
    return next((kind for text, kind in _TEXT_OPENINGS if opening.startswith(text)), UNKNOWN)
