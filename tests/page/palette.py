"""The colours of the page: their contrasts (WCAG 2), and whether those of the chart are told apart without red or green."""

import re

# Every text that is seen, with its colour and the one behind it; the ones that are the least far apart by their sum first.
WORST = r"""
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("script, style, noscript, .vh, .skip, select, svg")) continue;
  let behind = element, ground = "rgba(0, 0, 0, 0)";
  while (behind && /, 0\)$/.test(ground)) { ground = getComputedStyle(behind).backgroundColor; behind = behind.parentElement; }
  found.push([walker.currentNode.data.slice(0, 40), ground, getComputedStyle(element).color]);
}
const seen = new Map(found.map((one) => [one[1] + one[2], one]));
return [...seen.values()];
"""


def linear(value):
    value /= 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def luminance(rgb):
    return sum(part * linear(value) for part, value in zip((0.2126, 0.7152, 0.0722), rgb))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def rgb_of(text):
    return [float(value) for value in re.findall(r"[\d.]+", text)[:3]]


def luminance_of(text):
    return luminance(rgb_of(text))


def contrast_of(one, other):
    return contrast(rgb_of(one), rgb_of(other))


def hexed(text):
    return [int(text[place:place + 2], 16) for place in (1, 3, 5)]


# What is left of linear red, green and blue for somebody without one kind of cone (Machado, Oliveira and Fernandes 2009).
LACKING = {
    "nobody": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def lab(rgb, lacking):
    values = [linear(value) for value in rgb]
    values = [min(1, max(0, sum(part * value for part, value in zip(row, values)))) for row in LACKING[lacking]]
    xyz = [sum(part * value for part, value in zip(row, values)) for row in
           ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))]
    root = [value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (xyz[0] / 0.95047, xyz[1], xyz[2] / 1.08883)]
    return 116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])


def apart(one, other, lacking):
    return sum((a - b) ** 2 for a, b in zip(lab(one, lacking), lab(other, lacking))) ** 0.5


def check_all(check, css):
    with open(css, encoding="utf-8") as file:
        text = file.read()
    blocks = re.findall(r":root\s*{([^}]*)}", text)
    for theme, block in (("light", blocks[0]), ("dark", blocks[1]), ("print", blocks[2])):
        colours = {name: value for name, value in re.findall(r"--([\w-]+):\s*(#[0-9a-f]{3,6})\b", block)}
        colours = {name: hexed(value if len(value) == 7 else "#" + "".join(2 * digit for digit in value[1:])) for name, value in colours.items()}
        for name in ("text", "muted", "accent", "good", "warn", "bad"):
            for ground in ("card", "ground"):
                ratio = contrast(colours[name], colours[ground])
                check(f"{theme}: {name} on {ground} has a contrast of {ratio:.1f}", ratio >= 4.5)
        for name in ["edge", "rest"] + [f"c{n}" for n in range(6)]:
            ratio = contrast(colours[name], colours["card"])
            check(f"{theme}: {name} on card has a contrast of {ratio:.1f}", ratio >= 3)
        for lacking in LACKING:
            names = [f"c{n}" for n in range(6)]
            worst = min((apart(colours[a], colours[b], lacking), a, b) for i, a in enumerate(names) for b in names[:i])
            check(f"{theme}: the chart's colours are apart, {lacking}: {worst[1]} and {worst[2]} by {worst[0]:.0f}", worst[0] >= 14)
