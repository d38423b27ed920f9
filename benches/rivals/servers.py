"""Other XMPP servers from Debian's packages: started on loopback in a scratch folder, ended by their pids.

Each is configured as its package is, less what a bench on loopback does not need (server-to-server, HTTP, limits for
single addresses), and with what many connections need (descriptors, backlog). Nothing outside the folder is written.
"""

import gzip
import hashlib
import hmac
import os
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import time
import xml.etree.ElementTree as ElementTree

START_S = 120
IMPORT_S = 900
PIE = "{urn:xmpp:pie:0}"
ROSTER = "{jabber:iq:roster}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accounts(file):
    """Name, password and contacts of each account in a file of XEP-0227."""
    for _, element in ElementTree.iterparse(file):
        if element.tag == PIE + "user":
            contacts = [item.get("jid") for item in element.iter(ROSTER + "item")]
            yield element.get("name"), element.get("password"), contacts
            element.clear()


class Server:
    """What all have in common: a folder, a certificate, processes."""

    # How sessions log in where logging in is not what is measured: without a password to hash each time.
    quiet = ["--mechanism", "SCRAM-SHA-1"]

    def __init__(self, folder, domain):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.domain = domain
        self.port = free_port()
        self.processes = []
        self.certificate, self.key = self.folder / "cert.pem", self.folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
            + ["-subj", f"/CN={domain}", "-addext", f"subjectAltName=DNS:{domain}"]
            + ["-keyout", self.key, "-out", self.certificate],
            check=True, capture_output=True,
        )

    def launch(self, command, **options):
        log = open(self.folder / "output.log", "ab")
        process = subprocess.Popen(
            [str(word) for word in command], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
        )
        self.processes.append(process)

    def wait_for(self, port, seconds=START_S):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(process.poll() is not None for process in self.processes):
                raise RuntimeError(f"{self.name} ended: {self.last_words()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"{self.name} does not serve: {self.last_words()}")

    def last_words(self):
        return (self.folder / "output.log").read_text(errors="replace")[-2000:]

    def pids(self):
        return [process.pid for process in self.processes]

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []


class Prosody(Server):
    """Debian's modules less s2s, dialback, limits, invites and administration; accounts hashed as Debian has them."""

    name = "prosody"
    gc = ""

    MODULES = (
        "disco roster saslauth tls blocklist bookmarks carbons pep private smacks vcard4 vcard_legacy csi_simple ping "
        "register time uptime version posix legacyauth"
    ).split()
    ITERATIONS = 10000

    def prepare(self, file):
        self.config = self.folder / "prosody.cfg.lua"
        modules = " ".join(f'"{name}";' for name in self.MODULES)
        self.config.write_text(f"""
run_as_root = true
daemonize = false
data_path = "{self.folder}/data"
pidfile = "{self.folder}/prosody.pid"
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.port} }}
c2s_direct_tls_ports = {{ }}
s2s_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}
modules_enabled = {{ {modules} }}
modules_disabled = {{ "s2s" }}
c2s_require_encryption = true
authentication = "internal_hashed"
storage = "internal"
network_backend = "epoll"
network_settings = {{ tcp_backlog = 4096 }}
log = {{ warn = "{self.folder}/prosody.log" }}
ssl = {{ certificate = "{self.certificate}"; key = "{self.key}" }}
{self.gc}
VirtualHost "{self.domain}"
""")
        host = self.folder / "data" / self.domain.replace(".", "%2e")
        for store in ("accounts", "roster"):
            (host / store).mkdir(parents=True)
        salt, keys = "the load test's salt", {}
        for name, password, contacts in accounts(file):
            if password not in keys:
                salted = hashlib.pbkdf2_hmac("sha1", password.encode(), salt.encode(), self.ITERATIONS)
                stored = hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).hexdigest()
                keys[password] = stored, hmac.digest(salted, b"Server Key", "sha1").hex()
            stored, served = keys[password]
            (host / "accounts" / f"{name}.dat").write_text(
                f'return {{ ["iteration_count"] = {self.ITERATIONS}; ["salt"] = "{salt}"; '
                f'["stored_key"] = "{stored}"; ["server_key"] = "{served}"; }};\n'
            )
            items = "".join(f'["{jid}"] = {{ ["subscription"] = "both"; ["groups"] = {{ }}; }}; ' for jid in contacts)
            if items:
                head = '[false] = { ["version"] = 1; ["pending"] = { }; }; '
                (host / "roster" / f"{name}.dat").write_text(f"return {{ {head}{items}}};\n")

    def start(self):
        self.launch(["prosody", "--config", self.config, "-F"])
        self.wait_for(self.port)


class ProsodyTuned(Prosody):
    """The same with a collector that waits until the heap has doubled, as its documentation suggests for load."""

    name = "prosody-gc200"
    gc = 'gc = { mode = "incremental", threshold = 200, speed = 200 }'


class Ejabberd(Server):
    """Debian's client-facing modules without shaper and fail2ban; accounts as SCRAM keys, in Mnesia."""

    name = "ejabberd"

    def prepare(self, file):
        (self.folder / "ejabberd.yml").write_text(f"""
loglevel: warning
hosts: ["{self.domain}"]
certfiles: ["{self.folder}/both.pem"]
auth_password_format: scram
c2s_ciphers: "HIGH:!aNULL:!eNULL:!3DES:@STRENGTH"
listen:
  -
    port: {self.port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    access: c2s
    starttls_required: true
    backlog: 4096
access_rules:
  c2s: {{allow: all}}
  local: {{allow: all}}
shaper_rules:
  max_user_sessions: 1000
  max_user_offline_messages: 1000
modules:
  mod_adhoc: {{}}
  mod_blocking: {{}}
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_client_state: {{}}
  mod_disco: {{}}
  mod_last: {{}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_privacy: {{}}
  mod_private: {{}}
  mod_pubsub: {{plugins: [flat, pep]}}
  mod_roster: {{versioning: true}}
  mod_stream_mgmt: {{resend_on_timeout: if_offline}}
  mod_vcard: {{search: false}}
  mod_version: {{}}
""")
        both = self.certificate.read_text() + self.key.read_text()
        (self.folder / "both.pem").write_text(both)
        done = self.folder / "imported"
        # Erlang's strings have no apostrophe to escape here: paths are of this script's own making.
        self.run(f'ok = ejabberd_piefxis:import_file("{file}"), file:write_file("{done}", <<>>).')
        end = time.monotonic() + IMPORT_S
        while not done.exists() and time.monotonic() < end and self.processes[0].poll() is None:
            time.sleep(0.5)
        self.stop()
        if not done.exists():
            raise RuntimeError(f"ejabberd's import failed: {self.last_words()}")

    def run(self, expression=None):
        environment = dict(
            os.environ,
            EJABBERD_CONFIG_PATH=f"{self.folder}/ejabberd.yml",
            EJABBERD_LOG_PATH=f"{self.folder}/ejabberd.log",
            ERL_LIBS="/usr/lib/x86_64-linux-gnu",
            ERL_MAX_PORTS="100000",
            HOME=str(self.folder),
        )
        command = ["erl", "-noinput", "+K", "true", "+P", "250000", "-mnesia", "dir", f'"{self.folder}/mnesia"']
        self.launch(command + ["-s", "ejabberd"] + (["-eval", expression] if expression else []), env=environment)

    def start(self):
        self.run()
        self.wait_for(self.port)


class Jabberd2(Server):
    """Router, session manager and client side with Debian's settings and SQLite; it stores passwords in the clear."""

    name = "jabberd2"
    quiet = ["--mechanism", "PLAIN"]

    def prepare(self, file):
        router = free_port()
        database = self.folder / "sqlite.db"
        changes = {
            "/var/lib/jabberd2/sqlite.db": str(database),
            "/var/run/jabberd2": str(self.folder),
            "/var/log/jabberd2": str(self.folder),
            "<port>5347</port>": f"<port>{router}</port>",
            "<port>5222</port>": f"<port>{self.port}</port>",
            "<ip>0.0.0.0</ip>": "<ip>127.0.0.1</ip>",
            "<max_fds>1024</max_fds>": "<max_fds>100000</max_fds>",
            "<stanzas>1000</stanzas>": "<stanzas>0</stanzas>",
            "<id register-enable='mu'>localhost.localdomain</id>":
                f"<id require-starttls='mu' pemfile='{self.folder}/both.pem'>{self.domain}</id>",
            "localhost.localdomain": self.domain,
        }
        (self.folder / "both.pem").write_text(self.certificate.read_text() + self.key.read_text())
        for part in ("router", "sm", "c2s"):
            text = re.sub(r"<!--.*?-->", "", pathlib.Path(f"/etc/jabberd2/{part}.xml").read_text(), flags=re.S)
            for old, new in changes.items():
                text = text.replace(old, new)
            (self.folder / f"{part}.xml").write_text(text)
        with sqlite3.connect(database) as store:
            store.executescript(gzip.open("/usr/share/doc/jabberd2/db-setup.sqlite.gz", "rt").read())
            for name, password, contacts in accounts(file):
                jid = f"{name}@{self.domain}"
                store.execute("INSERT INTO authreg VALUES (?, ?, ?)", (name, self.domain, password))
                store.execute('INSERT INTO active ("collection-owner", "time") VALUES (?, 0)', (jid,))
                store.executemany(
                    'INSERT INTO "roster-items" ("collection-owner", "jid", "to", "from", "ask") VALUES (?, ?, 1, 1, 0)',
                    ((jid, contact) for contact in contacts),
                )

    def start(self):
        for part in ("router", "sm", "c2s"):
            self.launch([f"/usr/sbin/jabberd2-{part}", "-c", self.folder / f"{part}.xml"])
            time.sleep(1)
        self.wait_for(self.port)


RIVALS = [Prosody, ProsodyTuned, Ejabberd, Jabberd2]
