# SPDX-License-Identifier: Apache-2.0
"""Names in the generated C: which prefixes are allowed, and one allocator for the symbols of layers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from plinio_deploy.errors import UsageError

MAX_PREFIX = 24
"""Longest prefix, in characters."""

MAX_LAYER = 40
"""Longest part of a symbol that comes from a layer's name; the step's number keeps shortened names apart."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


C99_WORDS = _words(
    """auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    _Bool _Complex _Imaginary"""
)
"""Keywords of C99."""

C11_WORDS = _words("_Alignas _Alignof _Atomic _Generic _Noreturn _Static_assert _Thread_local")
"""Keywords that C11 adds."""

C23_WORDS = _words(
    """alignas alignof bool constexpr false nullptr static_assert thread_local true typeof typeof_unqual _BitInt
    _Decimal32 _Decimal64 _Decimal128"""
)
"""Keywords that C23 adds."""

CPP_WORDS = _words(
    """alignas alignof and and_eq asm bitand bitor bool catch char8_t char16_t char32_t class co_await co_return
    co_yield compl concept const_cast consteval constexpr constinit decltype delete dynamic_cast explicit export false
    final friend import module mutable namespace new noexcept not not_eq nullptr operator or or_eq override private
    protected public reinterpret_cast requires static_assert static_cast template this thread_local throw true try
    typeid typename using virtual wchar_t xor xor_eq"""
)
"""Keywords that C++ adds."""

STANDARD_HEADERS = _words(
    """assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic
    stdbit stdbool stdckdint stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype"""
)
"""Headers of the C library without their ``.h``: a prefix of that name would hide one."""

BUILD_TARGETS = _words("all clean edit_cache help install package rebuild_cache test")
"""Names that make and CMake give to their own targets."""

RESERVED = C99_WORDS | C11_WORDS | C23_WORDS | CPP_WORDS | STANDARD_HEADERS | BUILD_TARGETS


def check_prefix(prefix: str) -> str:
    """The prefix itself, if it can start every symbol, macro and file name of a project.

    Raises:
        UsageError: it is no C identifier, too long, or a word that C, C++ or the C library uses.
    """
    hints = ("use a short word in lower case, for example --prefix net",)
    if not _WORD.match(prefix):
        raise UsageError(
            "the prefix is no C identifier",
            got=repr(prefix),
            expected="a letter, then letters, digits and _",
            hints=hints,
        )
    if len(prefix) > MAX_PREFIX:
        raise UsageError(
            "the prefix is too long", got=f"{len(prefix)} characters", expected=f"at most {MAX_PREFIX}", hints=hints
        )
    if prefix.lower() in RESERVED:
        raise UsageError(
            "the prefix is a word of C, C++, the C library or the build tools", got=repr(prefix), hints=hints
        )
    return prefix


def identifier(name: str) -> str:
    """A piece of a C identifier made from any text: other characters become ``_``, long ones are cut."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:MAX_LAYER].rstrip("_") or "layer"


def layer_symbols(prefix: str, layers: Iterable[str]) -> tuple[str, ...]:
    """One symbol per executed layer, ``net_l03_conv1``: unique through its number, sorted as it runs."""
    names = [identifier(layer) for layer in layers]
    digits = max(2, len(str(len(names) - 1)))
    return tuple(f"{prefix}_l{index:0{digits}}_{name}" for index, name in enumerate(names))
