"""A proxy for an object that lives in a process of your own.

Shows: no decorator and no change of class. An object, a `Proxy` for it, and whatever
`multiprocessing.Process` the program already starts; the one that listens is the one that answers.

Watch for: each process has a copy of the object, as always with multiprocessing, but the proxy
reaches the live one. (The guard at the end is multiprocessing's wish: it imports this file again
where it does not fork.)
"""

import multiprocessing
import time

from remoteobj import NotListeningError, Proxy


class Player:
    def __init__(self) -> None:
        self.remote = Proxy(self)
        self.songs = ["intro"]
        self.played: list[str] = []

    def queue(self, *songs: str) -> int:
        self.songs += songs
        return len(self.songs)

    def run(self) -> None:
        with self.remote.listen_():  # requests run in the background
            while self.remote.listening_ and "outro" not in self.played:
                if self.songs:
                    self.played.append(self.songs.pop(0))
                time.sleep(0.02)


def main() -> None:
    player = Player()
    process = multiprocessing.Process(target=player.run)
    process.start()
    remote = player.remote
    remote.wait_until_listening(process)  # or an error, should the process die before

    remote.queue("waltz", "polka")
    while len(remote.played) < 3:
        time.sleep(0.01)
    print("over there:", remote.played.__)
    print("here:", player.played)
    print("played a waltz:", "waltz" in remote.played)
    remote.songs[:] = ["outro"]
    process.join()

    try:
        remote.queue("too late")
    except NotListeningError as error:
        print("then:", type(error).__name__)
    print("with a default:", remote.played.get_(default="nobody is there"))


if __name__ == "__main__":
    main()
