"""One actor, many clients: threads of this program, and other actors.

Shows: a handle can be given away. Whoever has it, in whichever thread or process, calls the same
object; the bank below runs one request at a time, so it needs no lock.

Watch for: no deposit is lost, although six clients in five processes make them at once, and each
client's own calls run in the order in which it made them.
"""

from concurrent.futures import ThreadPoolExecutor

from remoteobj import Proxy, remote


@remote
class Bank:
    def __init__(self) -> None:
        self.balance = 0
        self.book: list[tuple[str, int]] = []

    def deposit(self, who: str, number: int) -> int:
        balance = self.balance  # read, then written: a race, if two ran at once
        self.book.append((who, number))
        self.balance = balance + 1
        return self.balance


@remote
class Client:
    def __init__(self, name: str, bank: Proxy) -> None:
        self.name = name
        self.bank = bank

    def deposit(self, times: int) -> str:
        for number in range(times):
            self.bank.deposit(self.name, number)
        return self.name


TIMES = 500

with (
    Bank.spawn() as bank,
    Client.spawn("ann", bank) as ann,
    Client.spawn("bob", bank) as bob,
    Client.spawn("cyd", bank) as cyd,
    Client.spawn("dan", bank) as dan,
):
    here = [Client("eve", bank), Client("fay", bank)]  # the same class, as objects of this program
    with ThreadPoolExecutor() as pool:
        for name in pool.map(lambda client: client.deposit(TIMES), [ann, bob, cyd, dan, *here]):
            print(name, "is done")
    book = bank.book.__
    print("balance:", bank.balance.__, "of", 6 * TIMES)
    for who in ("ann", "eve"):
        print(f"{who} in order:", [n for name, n in book if name == who] == list(range(TIMES)))
