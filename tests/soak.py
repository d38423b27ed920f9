#!/usr/bin/env python3
"""A soak: every kind of attack at once, for minutes, against a real server with little memory.

    cargo build --release && python3 tests/soak.py --minutes 10 --plot docs/soak.svg

Each attack is a process of its own. Beside them a few well-behaved clients talk to each other and measure how
long a message takes, and somebody new logs in every other second. What the system counts as resident is sampled
throughout; it must stay below memory_max, nobody well-behaved may be dropped, nothing may be lost, and delays
stay bounded. Prints `name key=value` lines. Loopback only; what is started here is ended here.

Run by root it takes a network of its own (unshare), in which each client has an address: then the bounds of single
addresses hold for attackers too. Elsewhere all are 127.0.0.1, which has no such bounds.
"""

import argparse
import base64
import itertools
import multiprocessing
import os
import pathlib
import re
import resource
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

HEADER = (
    "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'>"
).encode()
ACCOUNTS = 20
PASSWORD = "a password"
SAMPLE_S = 0.1
STATUS_S = 2
# Below this the allocator's own is lost among what code and stacks take.
COUNTED_BYTES_MIN = 4 << 20
# Benchmarking addresses (RFC 2544): nobody else's.
NETWORK = "198.18.0.0/16"
HAS_NETWORK = os.environ.get("STONECHAT_SOAK_NETWORK") == "own"
HOST = "198.18.0.1" if HAS_NETWORK else "127.0.0.1"


def own_network():
    """Runs the same again in a network of its own, if that is permitted here."""
    begin = f"ip link set lo up && ip route add local {NETWORK} dev lo"
    if HAS_NETWORK or os.geteuid() != 0:
        return
    if subprocess.run(["unshare", "-n", "sh", "-c", begin], capture_output=True).returncode == 0:
        os.environ["STONECHAT_SOAK_NETWORK"] = "own"
        words = ["unshare", "-n", "sh", "-c", begin + ' && exec "$@"', "sh", sys.executable, *sys.argv]
        os.execvp("unshare", words)


def connected(port, who, timeout, receive_bytes=None):
    """A socket that comes from the address of `who`, a number."""
    one = socket.socket()
    if receive_bytes:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    one.settimeout(timeout)
    try:
        if HAS_NETWORK:
            one.bind((f"198.18.{1 + who // 250 % 250}.{1 + who % 250}", 0))
        one.connect((HOST, port))
    except OSError:
        one.close()
        raise
    return one


def tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# Each attack has some addresses of its own.
SOURCES = itertools.count(1000)


# The server.

class Server:
    """A server in a folder of its own, on free ports."""

    def __init__(self, binary, memory_max):
        self.binary = pathlib.Path(binary).resolve()
        self.folder = tempfile.TemporaryDirectory(prefix="stonechat-soak-")
        self.port, self.direct = free_port(), free_port()
        self.config = pathlib.Path(self.folder.name, "stonechat.toml")
        self.config.write_text(
            f"""
data_dir = "data"
tls_required = false
scram_iterations = 4096
registration = "open"
[[domain]]
name = "localhost"
self_signed = true
anonymous = true
[[listener]]
kind = "starttls"
addresses = ["{HOST}:{self.port}"]
[[listener]]
kind = "direct"
addresses = ["{HOST}:{self.direct}"]
[limits]
memory_max = {memory_max}
"""
        )
        self.process = None

    def start(self):
        self.log = open(pathlib.Path(self.folder.name, "log"), "ab")
        self.process = subprocess.Popen(
            [self.binary, "--config", self.config], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection((HOST, self.direct), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    sys.exit("the server does not serve:\n" + self.last_words())
                time.sleep(0.05)

    def verb(self, *words, stdin=b""):
        done = subprocess.run([self.binary, "--config", self.config, *words], input=stdin, capture_output=True)
        return done.stdout.decode()

    def status(self):
        return dict(re.findall(r"^(\S+) +(\S+)$", self.verb("status"), re.M))

    def resident(self):
        pages = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def last_words(self):
        return pathlib.Path(self.folder.name, "log").read_text()[-2000:]

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()


def free_port():
    with socket.socket() as one:
        one.bind((HOST, 0))
        return one.getsockname()[1]


# Clients.

class Client:
    """A session, logged in anonymously in the clear, or inside TLS at an account; blocking until it is bound, then not."""

    def __init__(self, port, timeout=30, receive_bytes=None, user=None, who=None):
        self.got, self.out = b"", b""
        self.socket = connected(port, next(SOURCES) if who is None else who, timeout, receive_bytes)
        try:
            if user:
                self.socket = tls().wrap_socket(self.socket, server_hostname="localhost")
            self.ask(HEADER, b"</stream:features>")
            xmlns = b"xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
            if user:
                proof = base64.b64encode(f"\0{user}\0{PASSWORD}".encode())
                self.ask(b"<auth %s mechanism='PLAIN'>%s</auth>" % (xmlns, proof), b"<success")
            else:
                self.ask(b"<auth %s mechanism='ANONYMOUS'/>" % xmlns, b"<success")
            self.ask(HEADER, b"</stream:features>")
            bind = b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
            self.jid = re.search(rb"<jid>([^<]+)</jid>", self.ask(bind, b"</iq>")).group(1)
        except AttributeError:
            self.socket.close()
            raise OSError("no session") from None
        except OSError:
            self.socket.close()
            raise
        self.socket.setblocking(False)

    def ask(self, words, until):
        self.got = b""
        self.socket.sendall(words)
        while until not in self.got:
            more = self.socket.recv(65536)
            if not more:
                raise OSError("closed")
            self.got += more
        return self.got

    def push(self, words=b"", most=1 << 20):
        """Sends what the kernel takes; what it does not take waits, up to a bound."""
        if len(self.out) < most:
            self.out += words
        try:
            self.out = self.out[self.socket.send(self.out):] if self.out else b""
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass

    def pull(self):
        """What has come; an error if it is over."""
        try:
            more = self.socket.recv(1 << 16)
        except (BlockingIOError, ssl.SSLWantReadError):
            return b""
        if not more:
            raise OSError("closed")
        return more


def with_sessions(port, stop, count, act, users=False, **options):
    """Keeps so many sessions, each acting again and again; who is dropped comes back."""
    clients, turn = [], itertools.count()
    while not stop.is_set():
        while len(clients) < count and not stop.is_set():
            try:
                user = f"user{next(turn) % ACCOUNTS}" if users else None
                clients.append(Client(port, timeout=10, user=user, **options))
            except OSError:
                time.sleep(0.2)
                break
        for client in list(clients):
            try:
                act(client, clients)
            except OSError:
                client.socket.close()
                clients.remove(client)
        time.sleep(0.002)


def with_connections(port, stop, count, open_words, drip=b""):
    """Keeps so many connections that never log in; `drip` goes out byte by byte."""
    held = []
    while not stop.is_set():
        while len(held) < count:
            try:
                one = connected(port, next(SOURCES), 0.5)
            except OSError:
                break
            try:
                one.setblocking(False)
                if open_words:
                    one.send(open_words)
                held.append([one, 0])
            except OSError:
                one.close()
                break
        for entry in list(held):
            one, at = entry
            try:
                if drip:
                    one.send(drip[at % len(drip):at % len(drip) + 1])
                    entry[1] += 1
                if one.recv(4096) == b"":
                    raise OSError("closed")
            except BlockingIOError:
                pass
            except OSError:
                one.close()
                held.remove(entry)
        time.sleep(0.05)


# Attacks.

CLIENT_HELLO_START = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100


def silent(port, _direct, stop):
    with_connections(port, stop, 400, b"")


def half_header(port, _direct, stop):
    with_connections(port, stop, 300, b"", drip=HEADER[:-1])


def half_handshakes(_port, direct, stop):
    with_connections(direct, stop, 500, CLIENT_HELLO_START)


def half_starttls(port, _direct, stop):
    words = HEADER + b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    with_connections(port, stop, 200, words)


def big_before_login(port, _direct, stop):
    with_connections(port, stop, 400, HEADER + b"<iq type='set'><a>" + b"x" * 9_900)


def partial_frames(port, _direct, stop):
    def act(client, _):
        if not hasattr(client, "begun"):
            client.begun = True
            client.push(b"<message to='localhost'><body>" + b"x" * 240_000)
        client.push()
        client.pull()
    with_sessions(port, stop, 300, act)


def slow_readers(port, _direct, stop):
    sender = None
    def act(client, clients):
        nonlocal sender
        if sender is None:
            sender = Client(port, timeout=3)
        try:
            sender.push(b"<message to='%s'><body>%s</body></message>" % (client.jid, b"x" * 20_000), most=600_000)
            sender.pull()
        except OSError:
            sender = None
        # Not read, but one has to see that it is over.
        if select.select([client.socket], [], [], 0)[0] and client.socket.recv(1, socket.MSG_PEEK) == b"":
            raise OSError("closed")
        if time.monotonic() - client.__dict__.setdefault("since", time.monotonic()) > 20:
            raise OSError("another one")
    with_sessions(port, stop, 120, act, receive_bytes=4096)


def big_stanzas(port, _direct, stop):
    def act(client, clients):
        to = clients[(clients.index(client) + 1) % len(clients)].jid
        client.push(b"<message to='%s'><body>%s</body></message>" % (to, b"x" * 250_000), most=250_000)
        while client.pull():
            pass
    with_sessions(port, stop, 8, act)


def presence_floods(port, _direct, stop):
    def act(client, clients):
        status = b"<status>%s</status>" % os.urandom(6_000).hex().encode()
        client.push(b"<presence>%s</presence>" % status, most=60_000)
        to = clients[(clients.index(client) + 1) % len(clients)].jid
        client.push(b"<presence to='%s'>%s</presence>" % (to, status), most=60_000)
        while client.pull():
            pass
    with_sessions(port, stop, 30, act)


def offline_floods(port, _direct, stop):
    def act(client, _):
        for number in range(ACCOUNTS):
            body = os.urandom(1_000).hex().encode()
            client.push(b"<message type='chat' to='user%d@localhost'><body>%s</body></message>" % (number, body), most=60_000)
        while client.pull():
            pass
    with_sessions(port, stop, 10, act)


def strangers(port, _direct, stop):
    number = 0
    def act(client, _):
        nonlocal number
        for _ in range(20):
            number += 1
            client.push(b"<iq type='get' id='%d' to='nobody%d@localhost/x'><a xmlns='b'/></iq>" % (number, number), most=60_000)
            client.push(b"<message to='nobody%d@localhost' type='groupchat'><body>x</body></message>" % number, most=60_000)
        while client.pull():
            pass
    with_sessions(port, stop, 10, act)


def queries_unread(port, _direct, stop):
    """Asks and never reads the answers."""
    def act(client, _):
        client.push(b"<iq type='get' id='x'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>" * 100, most=60_000)
        if select.select([client.socket], [], [], 0)[0] and client.socket.recv(1, socket.MSG_PEEK) == b"":
            raise OSError("closed")
        if time.monotonic() - client.__dict__.setdefault("since", time.monotonic()) > 20:
            raise OSError("another one")
    with_sessions(port, stop, 30, act, receive_bytes=4096)


def errors_back_and_forth(port, _direct, stop):
    """Two that answer whatever comes with an error, and errors with errors."""
    words = (
        b"<iq type='get' id='1' to='%s'><a xmlns='b'/></iq><iq type='error' id='2' to='%s'><error type='cancel'/></iq>"
        b"<message type='error' to='%s'/><presence type='error' to='%s'/><iq type='result' id='3' to='nobody@localhost/x'/>"
        b"<message type='error' to='nobody@localhost'/><message to='nobody@elsewhere.example'/>"
    )
    def act(client, clients):
        to = clients[(clients.index(client) + 1) % len(clients)].jid
        client.push(words % (to, to, to, to), most=60_000)
        while client.pull():
            pass
    with_sessions(port, stop, 6, act)


def subscription_floods(port, _direct, stop):
    number = itertools.count()
    def act(client, _):
        at = next(number)
        words = b"<presence type='%s' to='user%d@localhost'><status>%s</status></presence>"
        for kind in (b"subscribe", b"unsubscribe"):
            client.push(words % (kind, at % ACCOUNTS, b"x" * 1_500), most=60_000)
        client.push(b"<presence type='subscribe' to='nobody%d@localhost'/>" % at, most=60_000)
        while client.pull():
            pass
    with_sessions(port, stop, 10, act)


def roster_floods(_port, direct, stop):
    number = itertools.count()
    def act(client, _):
        at = next(number)
        item = b"<item jid='c%d@away.example' name='%s'><group>g</group></item>" % (at, b"x" * 900)
        client.push(b"<iq type='set' id='s'><query xmlns='jabber:iq:roster'>%s</query></iq>" % item, most=60_000)
        client.push(b"<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>", most=60_000)
        while client.pull():
            pass
    with_sessions(direct, stop, 10, act, users=True)


def presence_of_many(_port, direct, stop):
    """Accounts that all see each other, and change what they show without end."""
    number = itertools.count()
    def act(client, _):
        if not hasattr(client, "begun"):
            client.begun = True
            for other in range(ACCOUNTS):
                words = b"<presence type='subscribe' to='user%d@localhost'/><presence type='subscribed' to='user%d@localhost'/>"
                client.push(words % (other, other))
        client.push(b"<presence><status>%d %s</status></presence>" % (next(number), b"x" * 3_000), most=60_000)
        while client.pull():
            pass
    with_sessions(direct, stop, ACCOUNTS, act, users=True)


def registration_floods(_port, direct, stop):
    """Accounts are asked for from fifty addresses, several on one stream."""
    words = (
        b"<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>n%d</username><password>secret</password>"
        b"</query></iq>"
    )
    for number in itertools.count():
        if stop.is_set():
            return
        try:
            with tls().wrap_socket(connected(direct, 30_000 + number % 50, 5), server_hostname="localhost") as one:
                one.sendall(HEADER + words % number + words % -number)
                while more := one.recv(65536):
                    if b"type='error'" in more or b"type='result'" in more:
                        break
        except OSError:
            time.sleep(0.05)


def rude_ends(_port, direct, stop):
    """Sessions inside TLS that end in the middle of a record, without close_notify, half, or by a reset."""
    for number in itertools.count():
        if stop.is_set():
            return
        try:
            client = Client(direct, timeout=5, user=f"user{number % ACCOUNTS}")
        except OSError:
            time.sleep(0.1)
            continue
        fileno = client.socket.fileno()
        try:
            match number % 4:
                case 0:
                    os.write(fileno, b"\x17\x03\x03\x20\x00" + b"x" * 100)
                case 1:
                    os.write(fileno, b"\x17\x03\x03\x00\x40" + os.urandom(64))
                case 2:
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                case _:
                    client.push(b"<message to='user1@localhost'><body>" + b"x" * 9_000)
        except OSError:
            pass
        client.socket.close()


def login_storm(port, _direct, stop):
    while not stop.is_set():
        try:
            Client(port, timeout=3).socket.close()
        except OSError:
            time.sleep(0.1)


def handshake_storm(_port, direct, stop):
    """Full handshakes, then wrong passwords."""
    wrong = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHVzZXIxAHdyb25n</auth>"
    held = []
    while not stop.is_set():
        try:
            one = tls().wrap_socket(connected(direct, next(SOURCES), 3), server_hostname="localhost")
            one.sendall(HEADER + wrong)
            held.append(one)
        except OSError:
            time.sleep(0.1)
        if len(held) > 100:
            held.pop(0).close()


ATTACKS = [
    silent, half_header, half_handshakes, half_starttls, big_before_login, partial_frames, slow_readers, big_stanzas,
    presence_floods, presence_of_many, offline_floods, strangers, queries_unread, errors_back_and_forth,
    subscription_floods, roster_floods, registration_floods, rude_ends, login_storm, handshake_storm,
]


def attack(which, at, port, direct, stop):
    global SOURCES
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Elsewhere attackers have processors of their own: here they have what the server and those who behave leave.
    os.nice(15)
    SOURCES = itertools.cycle(range(1000 + at * 1000, 2000 + at * 1000))
    try:
        which(port, direct, stop)
    except KeyboardInterrupt:
        pass


# Who must be served.

def well_behaved(port, pairs, stop, ready, results):
    """Pairs that talk five times a second; measures each message's way, and logins of others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    people = [(Client(port, who=2 * at), Client(port, who=2 * at + 1)) for at in range(pairs)]
    receivers = {one.socket.fileno(): [one, b""] for _, one in people}
    ready.set()
    delays, sent, got, dropped = [], 0, 0, 0
    due, calm_from = time.monotonic(), None
    while True:
        now = time.monotonic()
        if stop.is_set():
            calm_from = calm_from or now
            if got >= sent or now > calm_from + 10:
                break
        elif now >= due:
            due = now + 0.2
            for one, other in people:
                words = b"<message to='%s'><body>%.6f</body></message>" % (other.jid, time.monotonic())
                try:
                    one.push(words)
                    sent += 1
                except OSError:
                    dropped += 1
        for fileno in select.select(list(receivers), [], [], max(0, min(due - time.monotonic(), 0.05)))[0]:
            entry = receivers[fileno]
            try:
                entry[1] += entry[0].pull()
            except OSError:
                dropped += 1
                del receivers[fileno]
                continue
            now = time.monotonic()
            *bodies, entry[1] = re.split(rb"</message>", entry[1])
            for body in bodies:
                delays.append(now - float(re.search(rb"<body>([0-9.]+)", body).group(1)))
                got += 1
        for one, _ in people:
            try:
                one.push()
                one.pull()
            except OSError:
                dropped += 1
    results.put((delays, sent, got, dropped))


def newcomers(port, stop, results):
    """Somebody new logs in every other second."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    took, failed = [], 0
    while not stop.wait(2):
        began = time.monotonic()
        try:
            Client(port, timeout=20, who=900).socket.close()
            took.append(time.monotonic() - began)
        except OSError:
            failed += 1
    results.put((took, failed))


# The report.

def percentile(values, share):
    ordered = sorted(values) or [float("nan")]
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def beyond(statuses):
    """What the system sees beyond what the server counts, as a share of that, where it counts much."""
    sizes = [[int(one[name]) for name in ("memory_base", "memory_all", "memory_resident")] for one in statuses]
    # `memory_all` has the allowance for the allocator in it: an eighth of what is behind the base.
    held = [((whole - base) * 8 // 9, resident - base) for base, whole, resident in sizes if resident]
    return [100 * (seen - counted) / counted for counted, seen in held if counted >= COUNTED_BYTES_MIN]


def plot(path, samples, memory_max):
    """Resident memory over time, as an SVG without any library."""
    width, height, left, below = 800, 300, 60, 40
    last = samples[-1][0]
    top = memory_max * 1.1
    x = lambda at: left + at / last * (width - left - 10)
    y = lambda size: height - below - size / top * (height - below - 10)
    mib = 1024 * 1024
    line = " ".join(f"{x(at):.1f},{y(size):.1f}" for at, size in samples)
    step = max(1, int(top / mib / 6))
    marks = "".join(
        f'<text x="{left - 6}" y="{y(size * mib) + 4:.1f}" text-anchor="end">{size}</text>'
        f'<line x1="{left}" x2="{width - 10}" y1="{y(size * mib):.1f}" y2="{y(size * mib):.1f}" stroke="#ddd"/>'
        for size in range(0, int(top / mib) + 1, step)
    )
    minutes = "".join(
        f'<text x="{x(at * 60):.1f}" y="{height - 20}" text-anchor="middle">{at}</text>' for at in range(int(last / 60) + 1)
    )
    bound = f'<line x1="{left}" x2="{width - 10}" y1="{y(memory_max):.1f}" y2="{y(memory_max):.1f}" stroke="#c00" stroke-width="1.5"/>'
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{marks}{minutes}'
        f'<text x="{left}" y="{height - 4}">minutes; resident memory in MiB, memory_max in red</text>{bound}'
        f'<polyline points="{line}" fill="none" stroke="#036" stroke-width="1"/></svg>\n'
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/stonechat")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--memory-max-mib", type=int, default=48)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--plot", type=pathlib.Path)
    parser.add_argument("--only", nargs="*", help="names of attacks")
    options = parser.parse_args()
    own_network()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    memory_max = options.memory_max_mib * 1024 * 1024
    chosen = [which for which in ATTACKS if not options.only or which.__name__ in options.only]

    server = Server(options.server, memory_max)
    server.start()
    for number in range(ACCOUNTS):
        server.verb("user", "add", f"user{number}@localhost", stdin=f"{PASSWORD}\n".encode())
    empty = server.resident()
    print(f"soak/start addresses={'many' if HAS_NETWORK else 'one'} memory_max_mib={options.memory_max_mib}", flush=True)
    stop, calm, ready, results, logins = (
        multiprocessing.Event(), multiprocessing.Event(), multiprocessing.Event(), multiprocessing.Queue(),
        multiprocessing.Queue(),
    )
    good = multiprocessing.Process(target=well_behaved, args=(server.port, options.pairs, calm, ready, results))
    good.start()
    ready.wait(60)
    workers = [multiprocessing.Process(target=newcomers, args=(server.port, stop, logins))]
    workers += [multiprocessing.Process(target=attack, args=(which, at, server.port, server.direct, stop)) for at, which in enumerate(chosen)]
    for worker in workers:
        worker.start()
    began, samples, statuses = time.monotonic(), [], []
    shown = asked = 0
    try:
        while time.monotonic() < began + options.minutes * 60 and server.process.poll() is None:
            samples.append((time.monotonic() - began, server.resident()))
            if samples[-1][0] >= shown:
                shown += 30
                print(f"soak/sample s={samples[-1][0]:.0f} rss_mib={samples[-1][1] / 1048576:.1f}", flush=True)
            if samples[-1][0] >= asked:
                asked += STATUS_S
                statuses.append(server.status())
            time.sleep(SAMPLE_S)
    except KeyboardInterrupt:
        pass
    is_alive = server.process.poll() is None
    status = server.status() if is_alive else {}
    stop.set()
    calm.set()
    delays, sent, got, dropped = results.get(timeout=60)
    took, failed = logins.get(timeout=60)
    for worker in [good, *workers]:
        worker.join(10)
        if worker.is_alive():
            worker.terminate()
    calmed = server.resident() if is_alive else 0
    server.end()

    mib = 1024 * 1024
    peak = max(size for _, size in samples)
    for name in sorted(status):
        if name.startswith(("memory_", "shed_", "slow", "tick_")) or name in ("accepted", "bound", "connections", "sessions", "stanzas_relayed"):
            print(f"soak/status {name}={status[name]}")
    shares = beyond(one for one in statuses if "memory_base" in one)
    print(
        f"soak/allocator samples={len(shares)} allowed_pct=12.5 beyond_p50_pct={percentile(shares, 0.5):.1f} "
        f"beyond_p90_pct={percentile(shares, 0.9):.1f} beyond_max_pct={percentile(shares, 1):.1f}"
    )
    print(
        f"soak/result minutes={samples[-1][0] / 60:.1f} attacks={len(chosen)} memory_max_mib={memory_max / mib:.0f} "
        f"rss_empty_mib={empty / mib:.1f} rss_peak_mib={peak / mib:.1f} rss_after_mib={calmed / mib:.1f} alive={is_alive} "
        f"messages={sent} lost={sent - got} dropped={dropped} p50_ms={percentile(delays, 0.5) * 1000:.1f} "
        f"p99_ms={percentile(delays, 0.99) * 1000:.1f} max_ms={percentile(delays, 1) * 1000:.1f} "
        f"logins={len(took)} logins_failed={failed} login_p50_ms={percentile(took, 0.5) * 1000:.0f} "
        f"login_p99_ms={percentile(took, 0.99) * 1000:.0f}"
    )
    if options.plot:
        plot(options.plot, samples, memory_max)
    faults = []
    if not is_alive:
        faults.append("the server is gone:\n" + server.last_words())
    if peak > memory_max:
        faults.append(f"{peak} bytes were resident, memory_max is {memory_max}")
    if dropped or sent != got:
        faults.append(f"{dropped} well-behaved connections dropped, {sent - got} of {sent} messages lost")
    if percentile(delays, 0.99) > 1.0:
        faults.append("messages of well-behaved clients take too long")
    for fault in faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    sys.exit(main())
