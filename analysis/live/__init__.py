"""A page in the browser that shows runs while they go on.

    board.py      what there is to be shown, told by who plays the runs
    serving.py    the page at an address of this machine, by a thread of its own
    places.py     where on earth regions are

`page.html`, `page.css`, `page.js` and the look of the report (`analysis/page/style.css`) are given to the browser as
they are. `world.json` holds the outlines of the land, longitude and latitude in turn: Natural Earth's land at 1:110
million, which is in the public domain, with small islands left out and coasts straightened a little.
"""
