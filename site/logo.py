"""Draw the logo, `site/static/logo.svg`: a frozen trunk in blue, and a new head in vermillion.

    .venv/bin/python site/logo.py

Blue and vermillion are the colours of frozen and of trained networks in every figure. Both have enough
contrast on white and on black.
"""

from pathlib import Path

FILE = Path(__file__).parent / "static" / "logo.svg"
SIZE, FROZEN, NEW = 64, "#1A80BF", "#E0640A"
LAYERS = ((26, 32), (38.5, 46), (51, 60))  # top and width of each layer of the trunk
HEAD = 11  # radius


def svg() -> str:
    """Return the logo as SVG."""
    middle = SIZE / 2
    layers = [
        f'<rect x="{middle - width / 2:g}" y="{top}" width="{width}" height="10.5" rx="3.5" fill="{FROZEN}"/>'
        for top, width in LAYERS
    ]
    head = f'<circle cx="{middle:g}" cy="{HEAD + 1:g}" r="{HEAD}" fill="{NEW}"/>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" role="img">',
            "<title>tlkit: a frozen trunk with a new head</title>",
            *layers,
            head,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    FILE.write_text(svg(), encoding="utf-8")
