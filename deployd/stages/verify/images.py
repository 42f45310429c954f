"""Answers of pages -> one of their images to ask for, and its answer -> whether Next.js made it smaller.

Without sharp, Next.js 13 and 14 answer with the original bytes, and say so in the log only.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from deployd.stages.verify.findings import write
from deployd.stages.verify.routes import Question
from deployd.stages.verify.values import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployd.stages.verify.checkout import Checkout
    from deployd.stages.verify.server import Answer

# of the app's own files: others would have to be fetched. A vector image is never changed.
_LINK = re.compile(r"(?<![\w/])(?:/[\w.~-]+)*/_next/image\?url=%2F[^\s\"'\\\\,<>]+")
_MADE = ("image/avif", "image/webp")
_UNTOUCHED = ("image/svg", "image/gif")


def question_of(answers: Iterable[Answer]) -> Question | None:
    """The first image that a page links through Next.js's optimizer, or None."""
    for answer in answers:
        for match in _LINK.finditer(answer.page):
            path = html.unescape(match[0])
            if not re.search(r"\.(?:svg|gif)&", path):
                return Question(path=path, route="/_next/image", accept=",".join(_MADE))
    return None


def judge(answer: Answer, checkout: Checkout | None, *, has_sharp: bool) -> Finding | None:
    """What is wrong with an image's answer, or None. `has_sharp` is whether the artifact has it."""
    if answer.status is None or answer.content_type.startswith((*_MADE, *_UNTOUCHED)):
        return None
    if answer.status < 400 and not answer.content_type.startswith("image/"):  # noqa: PLR2004 - HTTP's own number
        return None
    if answer.status >= 400:  # noqa: PLR2004 - HTTP's own number
        what = f"images cannot be shown: /_next/image answered {answer.status} when it was tried alone"
        return Finding(kind="answer", what=what, fix="see what the server says: deployd verify -v")
    what = (
        f"images are not made smaller: /_next/image answered with the {answer.content_type} itself, and not with WebP"
    )
    where = checkout.module("sharp", importer=None) if checkout else None
    if has_sharp:
        return Finding(
            kind="native", what=f"{what}, though sharp is there", fix="see whether the app's images are odd ones"
        )
    if where is None or checkout is None:
        return Finding(
            kind="native", what=f"{what}; the app has no sharp", fix="npm install sharp, and commit the lock file"
        )
    include = ("/*", tuple(dict.fromkeys(glob for one in checkout.needs(where) for glob in checkout.globs(one))))
    return Finding(
        kind="native", what=f"{what}; sharp is not in the artifact", fix=write(include), error=True, include=include
    )
