"""A page as one HTML file: pictures embedded, no script, no network, and no name of a user taken for markup.

The content security policy in the file forbids what the file does not need, so that even a hole in the escaping below
could neither run a script nor reach a network.
"""

from __future__ import annotations

import base64
import html
from typing import Final

from lockstep.reports.page import Block, Facts, Figure, Folded, Page, Pictures, Section, Table, Text

_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_NARROW: Final = "(max-width: 640px)"
_DARK: Final = "(prefers-color-scheme: dark)"
_STYLE: Final = """
:root { color-scheme: light dark; --back: #ffffff; --card: #f6f7f9; --ink: #1c2530; --soft: #55606d; --line: #d8dde4;
  --link: #0b5cad; --good: #0b6b45; --bad: #a8280f; --badback: #fdeeea; }
@media (prefers-color-scheme: dark) { :root { --back: #14181d; --card: #1b2128; --ink: #e6e9ee; --soft: #a3adb9;
  --line: #323b46; --link: #7db8f0; --good: #5fd0a0; --bad: #ff9b85; --badback: #3a1d17; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 58rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
header { border-bottom: 1px solid var(--line); padding-bottom: 1rem; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-top: .25rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 .35rem; }
p { margin: .5rem 0; overflow-wrap: anywhere; }
.sub, figcaption, caption { color: var(--soft); }
.good { color: var(--good); } .bad { color: var(--bad); } .note { color: var(--soft); }
.alarm { background: var(--badback); color: var(--bad); border: 1px solid; border-radius: .5rem; padding: .75rem 1rem;
  margin: 1rem 0; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; padding: 0; margin: 1rem 0 0; }
a { color: var(--link); }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) minmax(0, 1fr); gap: .3rem 1.25rem;
  margin: .5rem 0; }
dt { color: var(--soft); overflow-wrap: anywhere; } dd { margin: 0; overflow-wrap: anywhere; }
dl.code dd, code { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .86em; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .35rem; }
th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 400; }
.numbers th:not(:first-child), .numbers td { text-align: right; white-space: nowrap; padding: .35rem 0 .35rem .9rem; }
.numbers thead th { vertical-align: bottom; }
.numbers th:first-child { position: sticky; left: 0; background: var(--back); }
figure { margin: 1.5rem 0; }
figure h3 { margin: 0 0 .35rem; }
img { display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: .4rem; }
figcaption { margin-top: .4rem; font-size: .92rem; }
details { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .9rem; margin: .6rem 0; }
summary { cursor: pointer; }
@media (max-width: 640px) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
  main { padding: 1rem .8rem 3rem; } table { font-size: .9rem; }
  .numbers thead th:not(:first-child) { white-space: normal; } .numbers tbody th { min-width: 9rem; }
  .numbers th:not(:first-child), .numbers td { padding-left: .5rem; } }
@media print { nav { display: none; } details { border: 0; } figure, table { break-inside: avoid; } }
"""


def page_html(page: Page, pictures: Pictures) -> bytes:
    """The page as UTF-8. A figure without pictures keeps its title and its words, and says that it was not drawn."""
    names = [f"s{place}" for place, _ in enumerate(page.sections)]
    links = "".join(
        f'<li><a href="#{name}">{shown(section.title)}</a></li>'
        for name, section in zip(names, page.sections, strict=True)
    )
    alarm = (
        "" if page.alarm is None else f'<p class="alarm" role="alert"><strong>Alarm.</strong> {shown(page.alarm)}</p>'
    )
    body = "".join(_section(name, section, pictures) for name, section in zip(names, page.sections, strict=True))
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{shown(page.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><h1>{shown(page.title)}</h1>\n<p class="sub">{shown(page.subtitle)}</p>{alarm}\n'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>\n{body}</main>\n</body>\n</html>\n'
    )
    return text.encode()


def shown(text: str) -> str:
    """`text` escaped for HTML, with unprintable characters as \\u{...}.

    A browser drops control characters, and those that reverse the direction of writing make a name look like another.
    """
    return html.escape("".join(letter if letter.isprintable() else f"\\u{{{ord(letter):x}}}" for letter in text))


def _section(name: str, section: Section, pictures: Pictures) -> str:
    blocks = "\n".join(_block(block, pictures) for block in section.blocks)
    heading = f'<h2 id="{name}h">{shown(section.title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}h">{heading}\n{blocks}\n</section>\n'


def _block(block: Block, pictures: Pictures) -> str:
    if isinstance(block, Text):
        return f'<p class="{shown(block.tone)}">{shown(block.text)}</p>'
    if isinstance(block, Facts):
        return _facts(block)
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Folded):
        return f"<details><summary>{shown(block.title)}</summary>{_facts(block.facts)}</details>"
    return _figure(block, pictures)


def _facts(block: Facts) -> str:
    rows = "".join(f"<dt>{shown(name)}</dt><dd>{shown(value)}</dd>" for name, value in block.rows)
    return f'<dl class="{"code" if block.code else "facts"}">{rows}</dl>'


def _table(block: Table) -> str:
    head = "".join(f'<th scope="col">{shown(name)}</th>' for name in block.header)
    rows = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{shown(cell)}</th>' if place == 0 else f"<td>{shown(cell)}</td>"
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in block.rows
    )
    kind = ' class="numbers"' if block.numbers else ""
    # A wide table scrolls by itself; the keyboard reaches it, and the page never moves sideways.
    return (
        f'<div class="scroll" role="region" aria-label="{shown(block.caption)}" tabindex="0"><table{kind}>'
        f"<caption>{shown(block.caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _figure(block: Figure, pictures: Pictures) -> str:
    drawn = pictures.get(block.name)
    caption = f"<figcaption>{shown(block.text)}</figcaption>" if block.text else ""
    title = f"<h3>{shown(block.title)}</h3>"
    if drawn is None:
        return f'<figure>{title}<p class="note">Not drawn: {shown(block.alt)}</p>{caption}</figure>'
    # A browser takes the first source whose media fits, so the one with two conditions comes first.
    sources = "".join(
        f'<source media="{media}" srcset="{_data(drawn[key])}">'
        for media, key in (
            (f"{_NARROW} and {_DARK}", ("narrow", "dark")),
            (_NARROW, ("narrow", "light")),
            (_DARK, ("wide", "dark")),
        )
    )
    image = f'<img src="{_data(drawn["wide", "light"])}" alt="{shown(block.alt)}">'
    return f"<figure>{title}<picture>{sources}{image}</picture>{caption}</figure>"


def _data(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()
