"""The report as one HTML page that needs nothing but itself.

    page.py       frames -> the bytes of the page
    sections.py   what each part of it says, shows and counts
    parts.py      what a section is made of: words, numbers that name themselves, tables, charts, diagrams
    charts.py     small tables -> Vega-Lite, by Altair
    palette.py    one colour an ordering
    figures.py    the same charts and tables as files for papers

`template.html`, `style.css` and `script.js` are put into the page as they are.
"""
