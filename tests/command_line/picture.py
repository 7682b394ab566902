"""The picture of `remoteobj top` in the documentation: `make picture`."""

import asyncio
import re
from pathlib import Path

from remoteobj.cli.top import Top
from tests.command_line.fake_source import FakeSource

__all__ = ["PICTURE", "picture"]

PICTURE = Path(__file__).parents[2] / "docs" / "_static" / "top.svg"


async def picture() -> str:
    """The program over the made-up source, as SVG."""
    app = Top(FakeSource(), None)
    async with app.run_test(size=(96, 12)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("o", "down")
        await pilot.pause()
        drawn = app.export_screenshot(title="remoteobj top")
    # Fonts from the network are not loaded in a page, and nobody should have to.
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)


if __name__ == "__main__":
    PICTURE.write_text(asyncio.run(picture()), "utf-8")
