"""yt frontends for formats that yt itself cannot open; registered by the ``yt.frontends`` entry points."""
