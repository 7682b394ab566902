"""A slow instrument behind a window that never freezes.

Shows: the instrument is an actor, so its slow answers are waited for in another process. The window
asks by futures, and a signal of Qt brings each answer into the window's own thread.

Watch for: the clock in the window goes on while a value, which takes 50 ms, or a calibration, which
takes half a second, is on its way. The program presses its own button, and ends by itself after
twenty values. Without a screen, set QT_QPA_PLATFORM=offscreen.
"""

import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from PySide6.QtCore import QTimer, Signal, Slot
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QVBoxLayout, QWidget

from remoteobj import remote


# Qt has threads, and a process with threads should not be forked.
@remote(start_method="forkserver")
class Voltmeter:
    """Stands for an instrument at a serial line, which answers one question at a time."""

    def __init__(self) -> None:
        self.offset = 0.5
        self.count = 0

    def measure(self) -> float:
        time.sleep(0.05)
        self.count += 1
        return 5.0 + math.sin(self.count) / 100 + self.offset

    def calibrate(self) -> None:
        time.sleep(0.5)
        self.offset = 0.0

    @remote.cleanup
    def disconnect(self) -> None:
        print("the instrument is disconnected", flush=True)


class Window(QWidget):
    answered = Signal(object, object)

    def __init__(self, meter: Any) -> None:
        super().__init__()
        self.meter = meter
        self.values = self.ticks = 0
        self.voltage, self.clock = QLabel("no value yet"), QLabel()
        self.button = QPushButton("Calibrate")
        layout = QVBoxLayout(self)
        for part in (self.voltage, self.clock, self.button):
            layout.addWidget(part)
        self.answered.connect(self.take)
        self.button.clicked.connect(self.calibrate)
        timer = QTimer(self)
        timer.timeout.connect(self.tick)
        timer.start(10)

    def ask(self, future: Future[Any], show: Callable[[Any], None]) -> None:
        """Go on, and show the answer when it is there."""
        # The callback runs in a thread of the library; a window belongs to the thread of Qt. A
        # signal that comes from another thread runs its slot in the thread of the window.
        future.add_done_callback(lambda done: self.answered.emit(done, show))

    @Slot(object, object)
    def take(self, future: Future[Any], show: Callable[[Any], None]) -> None:
        try:
            show(future.result())
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            QApplication.exit(1)

    def measure(self) -> None:
        self.ask(self.meter.future_.measure(), self.show_value)

    def show_value(self, volts: float) -> None:
        self.values += 1
        self.voltage.setText(f"{volts:.1f} V")
        if self.values in (1, 20):
            print(f"value {self.values} in the window: {self.voltage.text()}")
        if self.values == 10:
            self.button.click()
        if self.values < 20:
            self.measure()
        else:
            self.close()  # the last window: this ends the program

    @Slot()
    def calibrate(self) -> None:
        self.button.setEnabled(False)
        before = self.ticks
        self.ask(self.meter.future_.calibrate(), lambda _: self.calibrated(self.ticks - before))

    def calibrated(self, ticks: int) -> None:
        self.button.setEnabled(True)
        print(f"calibrated; meanwhile the clock in the window has moved {ticks} times")

    @Slot()
    def tick(self) -> None:
        self.ticks += 1
        self.clock.setText(f"{self.ticks / 100:.2f} s")


def main() -> int:
    with Voltmeter.spawn() as meter:
        application = QApplication(sys.argv)
        window = Window(meter)
        window.show()
        window.measure()
        return application.exec()


if __name__ == "__main__":
    sys.exit(main())
