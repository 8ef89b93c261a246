"""Downloads and cleans public copies of the demo model's texts.

    python fetch.py CORPORA [--story-megabytes 200]

- TinyStories (Eldan and Li, 2023; CDLA-Sharing-1.0) from its Hugging Face dataset, as much of it as asked.
- The books of books.tsv (public domain in the United States) from the GITenberg repositories, which hold Project
  Gutenberg's plain text files. Licence text, title pages, contents, chapter headings and notes are dropped, lines
  are joined into paragraphs, and each chapter becomes a document.

The shipped model was trained on texts cleaned with more care than this script takes, and on fewer stories.
"""

import argparse
import re
import unicodedata
import urllib.error
import urllib.request
from pathlib import Path

from tokenizer import END_OF_DOCUMENT

STORIES = "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/main/TinyStories-{split}.txt"
BOOK = "https://raw.githubusercontent.com/{repo}/{commit}/{file}"
BOOKS = Path(__file__).parent / "books.tsv"
SHORTEST_DOCUMENT = 400  # characters; shorter pieces are title pages, contents and the like
TO_ASCII = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "--",
                          "\u2026": "...", "\u00e6": "ae", "\u0153": "oe", "\u00c6": "Ae", "\u0152": "Oe"})
HEADING = re.compile(r"(chapter|story|part|book|section|introduction|preface|contents)\b.{0,80}$|[ivxlc]+\.?$", re.I)


def to_ascii(text):
    text = unicodedata.normalize("NFKD", text.translate(TO_ASCII))
    return text.encode("ascii", "ignore").decode()


def is_heading(paragraph):
    return bool(HEADING.match(paragraph)) or (len(paragraph) < 80 and paragraph == paragraph.upper())


def clean_book(text):
    """The chapters of a Project Gutenberg file, each a string of paragraphs with blank lines between."""
    text = to_ascii(text.replace("\r\n", "\n"))
    start = re.search(r"\*\*\* ?START OF.*?\*\*\*\n", text, re.S)
    end = re.search(r"\*\*\* ?END OF|\nEnd of (the )?Project Gutenberg", text)
    text = text[start.end() if start else 0 : end.start() if end else len(text)]
    text = re.sub(r"\[(Illustration|Footnote|Transcriber)[^\]]*\]", "", text, flags=re.I).replace("_", "")
    chapters, paragraphs = [], []
    for block in re.split(r"\n\s*\n", text):
        paragraph = " ".join(block.split())
        if re.match(r"(e-?text )?(produced|prepared) by", paragraph, re.I):
            continue
        if is_heading(paragraph):
            chapters.append(paragraphs)
            paragraphs = []
        else:
            paragraphs.append(paragraph)
    joined = ("\n\n".join(chapter) for chapter in [*chapters, paragraphs])
    return [chapter for chapter in joined if len(chapter) >= SHORTEST_DOCUMENT]


def clean_stories(text):
    """The stories of a part of TinyStories, a line per paragraph; the last one may be cut and is left out."""
    stories = to_ascii(text).split(END_OF_DOCUMENT)[:-1]
    return [re.sub(r"\s*\n\s*", "\n", s.strip()) for s in stories if s.strip()]


def download(url, limit=None):
    print(url, flush=True)
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            data = reply.read() if limit is None else reply.read(limit)
    except urllib.error.URLError as error:
        raise SystemExit(f"cannot download {url}: {error.reason}; try again later, the files done are kept") from error
    try:
        return data.decode("utf-8-sig", "strict" if limit is None else "ignore")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def write_documents(path, documents):
    part = path.with_suffix(".part")
    part.write_text("".join(f"{d}\n{END_OF_DOCUMENT}\n" for d in documents), encoding="utf-8")
    part.replace(path)


def fetch(out, story_megabytes):
    out.mkdir(parents=True, exist_ok=True)
    for split, megabytes in (("train", story_megabytes), ("valid", 1)):
        path = out / f"tinystories-{split}.txt"
        if not path.exists():
            write_documents(path, clean_stories(download(STORIES.format(split=split), megabytes * 1_000_000)))
    for line in BOOKS.read_text().splitlines():
        split, repo, commit, file = line.split("\t")
        path = out / f"children-books-{split}-{Path(file).stem}.txt"
        if not path.exists():
            write_documents(path, clean_book(download(BOOK.format(repo=repo, commit=commit, file=file))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--story-megabytes", type=int, default=200, help="how much of TinyStories (it has 1900)")
    args = parser.parse_args()
    fetch(args.out, args.story_megabytes)


if __name__ == "__main__":
    main()
