"""A camera that takes pictures 30 times a second, is steered meanwhile, and is watched by two.

Shows: `every_` keeps the rate of a loop and serves calls between two pictures, `publish_` gives a
picture to all who follow, and `follow_` gives each follower the newest, or all of them in order.

Watch for: the slow viewer costs the camera nothing. It misses pictures, and `dropped` counts them;
the recorder, which follows with `latest=False`, gets every one.
"""

import threading
import time
from typing import Any

import numpy as np

from remoteobj import remote

HEIGHT, WIDTH, RATE = 1080, 1920, 30


@remote
class Camera:
    def __init__(self) -> None:
        self.exposure = 10
        self.late = 0.0
        self.picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)  # 6 MB, filled anew each time

    @remote.work
    def run(self) -> None:
        for tick in self.remote.every_(1 / RATE):
            self.picture[:] = self.exposure
            self.remote.publish_((tick.number, self.picture))
            self.late = max(self.late, tick.lateness)


def view(pictures: Any) -> None:
    """Takes four times as long for a picture as the camera does."""
    for _, picture in pictures:
        time.sleep(4 / RATE)
        if picture[0, 0, 0] == 200:
            print("the viewer sees that the exposure has changed")
            return


with Camera.spawn() as camera:
    recorder, pictures = camera.follow_(latest=False, window=30), camera.follow_()
    viewer = threading.Thread(target=view, args=(pictures,), name="viewer")
    viewer.start()

    recorded = [next(recorder)[0] for _ in range(RATE // 2)]
    camera.exposure = 200  # between two pictures
    recorded += [next(recorder)[0] for _ in range(RATE // 2)]
    viewer.join()

    print("recorded:", len(recorded), "pictures, missed:", recorder.dropped)
    seconds = (recorded[-1] - recorded[0]) / RATE
    print(f"they were taken in {seconds:.1f} s, at {RATE} a second")
    print("the viewer missed some:", pictures.dropped > 0)
