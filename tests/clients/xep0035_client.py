"""A client of 2002: STARTTLS by XEP-0035, login by XEP-0078 or XEP-0034.

No maintained client speaks this dialect any more, so this one is written from the documents, with nothing but
Python's library. See README.md for what every client here does. --mechanism is `iq-auth` (XEP-0078) or a SASL
mechanism (XEP-0034); --tls is `2002` (XEP-0035), `starttls` (RFC 6120's flip, 2002 inside) or `direct`.
"""

import argparse
import base64
import hashlib
import hmac
import os
import socket
import ssl
import sys
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

STREAMS = "http://etherx.jabber.org/streams"
TLS = "http://www.ietf.org/rfc/rfc2595.txt"
SASL = "http://www.iana.org/assignments/sasl-mechanisms"
RFC_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
AUTH = "{jabber:iq:auth}"
# The prefix is the client's to choose; an uncommon one shows that the server listens.
PREFIX = "secure"


class Fault(Exception):
    """The server did not do what the documents say."""


def expect(true, message):
    if not true:
        raise Fault(message)


class Stream:
    """One TCP connection, and the XML stream that is open on it."""

    def __init__(self, args):
        self.args = args
        self.user, self.domain = args.jid.split("/")[0].split("@")
        self.resource = args.jid.partition("/")[2] or "2002"
        self.socket = socket.create_connection((args.host, int(args.port)), timeout=20)
        self.context = ssl.create_default_context(cafile=args.ca)
        if args.cert:
            self.context.load_cert_chain(args.cert, args.key)

    def wrap(self):
        self.socket = self.context.wrap_socket(self.socket, server_hostname=self.domain)

    def send(self, text):
        self.socket.sendall(text.encode())

    def open(self, declarations):
        """Sends a header; returns the answering header as an element and as text."""
        self.send(
            f"<stream:stream xmlns='jabber:client' xmlns:stream='{STREAMS}' {declarations} to={quoteattr(self.domain)}>"
        )
        self.parser = ET.XMLPullParser(("start", "end"))
        self.depth = 0
        self.ready = []
        text = b""
        # The go-ahead is a bare end tag, so nothing behind the header may be swallowed: byte by byte.
        while not (text.endswith(b">") and b"<stream:stream" in text):
            text += self.read(1)
        self.parser.feed(text)
        _, header = next(self.parser.read_events())
        expect(header.tag == f"{{{STREAMS}}}stream", f"no stream header: {text}")
        expect(header.get("id"), "the header has no id")
        return header, text.decode()

    def read(self, count):
        data = self.socket.recv(count)
        if not data:
            raise Fault("the server closed the connection")
        return data

    def next(self):
        """The next first-level element; None at the end of the stream."""
        while not self.ready:
            for event, element in self.parser.read_events():
                self.depth += 1 if event == "start" else -1
                if event == "end" and self.depth <= 0:
                    self.ready.append(element if self.depth == 0 else None)
            if not self.ready:
                self.parser.feed(self.read(4096))
        return self.ready.pop(0)

    def request(self, kind, payload):
        number = os.urandom(4).hex()
        self.send(f"<iq type='{kind}' id='{number}'>{payload}</iq>")
        answer = self.next()
        expect(answer is not None and answer.get("id") == number, f"no answer to {number}")
        return answer


def flip_2002(stream):
    """XEP-0035 §2, to the byte."""
    _, text = stream.open(f"xmlns:{PREFIX}='{TLS}'")
    declared = [f"xmlns:{PREFIX}={quote}{TLS}{quote}" for quote in "'\""]
    expect(any(one in text for one in declared), f"the answer does not declare the namespace: {text}")
    expect("version" not in text, f"a versionless stream was answered with a version: {text}")
    stream.send(f"<{PREFIX}:starttls/>")
    go_ahead = b""
    while not go_ahead.endswith(b">"):
        go_ahead += stream.read(1)
    expect(go_ahead == b"</stream:stream>", f"no go-ahead: {go_ahead}")
    stream.wrap()


def flip_rfc6120(stream):
    stream.open("version='1.0'")
    features = stream.next()
    expect(features.find(f"{{{RFC_TLS}}}starttls") is not None, "no <starttls/> in the features")
    stream.send(f"<starttls xmlns='{RFC_TLS}'/>")
    answer = stream.next()
    expect(answer.tag == f"{{{RFC_TLS}}}proceed", f"no <proceed/>: {answer.tag}")
    stream.wrap()


def login_iq(stream):
    """XEP-0078 §3.1 with a password."""
    stream.open("")
    fields = stream.request("get", "<query xmlns='jabber:iq:auth'/>")
    query = fields.find(AUTH + "query")
    names = sorted(child.tag.removeprefix(AUTH) for child in query)
    expect(names == ["password", "resource", "username"], f"the fields are {names}")
    session(stream, f"<password>{escape(stream.args.password)}</password>")


def session(stream, credential):
    answer = stream.request(
        "set",
        f"<query xmlns='jabber:iq:auth'><username>{escape(stream.user)}</username>{credential}"
        f"<resource>{escape(stream.resource)}</resource></query>",
    )
    expect(answer.get("type") == "result", f"the session was refused: {ET.tostring(answer).decode()}")


def login_sasl(stream, mechanism):
    """XEP-0034: SASL on this stream, then a session on the same one."""
    stream.open(f"xmlns:sasl='{SASL}'")
    mechanisms = [element.text for element in stream.next()]
    expect(mechanism in mechanisms, f"{mechanism} is not offered: {mechanisms}")
    if mechanism == "EXTERNAL":
        stream.send("<sasl:auth mechanism='EXTERNAL'/>")
        name, _ = sasl_next(stream)
        expect(name == "success", f"EXTERNAL got <{name}/>")
    elif mechanism == "PLAIN":
        # As the document has it: an empty challenge, then user NUL password, wrapped as RFC 2045 allows.
        stream.send("<sasl:auth mechanism='PLAIN'/>")
        name, _ = sasl_next(stream)
        expect(name == "challenge", f"PLAIN got <{name}/>")
        secret = base64.b64encode(f"{stream.user}\0{stream.args.password}".encode()).decode()
        stream.send(f"<sasl:response>\n {secret[:8]}\n {secret[8:]}\n</sasl:response>")
        name, _ = sasl_next(stream)
        expect(name == "success", f"PLAIN got <{name}/>")
    else:
        scram(stream, mechanism)
    session(stream, "")


def sasl_next(stream):
    element = stream.next()
    expect(element is not None and element.tag.startswith(f"{{{SASL}}}"), f"no SASL element: {element}")
    return element.tag.removeprefix(f"{{{SASL}}}"), "".join((element.text or "").split())


def scram(stream, mechanism):
    """RFC 5802 and 7677, without channel binding: XEP-0034 has no way to announce its types."""
    algorithm = "sha256" if "SHA-256" in mechanism else "sha1"
    nonce = base64.b64encode(os.urandom(15)).decode()
    bare = f"n={stream.user},r={nonce}"
    encode = lambda text: base64.b64encode(text.encode()).decode()
    stream.send(f"<sasl:auth mechanism='{mechanism}'>{encode('n,,' + bare)}</sasl:auth>")
    name, data = sasl_next(stream)
    expect(name == "challenge", f"SCRAM got <{name}/>")
    first = base64.b64decode(data).decode()
    parts = dict(pair.split("=", 1) for pair in first.split(","))
    expect(parts["r"].startswith(nonce) and len(parts["r"]) > len(nonce), "the nonce is not ours continued")
    expect(int(parts["i"]) >= 4096, f"only {parts['i']} iterations")
    salted = hashlib.pbkdf2_hmac(
        algorithm, stream.args.password.encode(), base64.b64decode(parts["s"]), int(parts["i"])
    )
    sign = lambda key, text: hmac.new(key, text, algorithm).digest()
    client_key = sign(salted, b"Client Key")
    stored_key = hashlib.new(algorithm, client_key).digest()
    last = f"c={encode('n,,')},r={parts['r']}"
    signed = f"{bare},{first},{last}".encode()
    proof = bytes(a ^ b for a, b in zip(client_key, sign(stored_key, signed)))
    stream.send(f"<sasl:response>{encode(f'{last},p={base64.b64encode(proof).decode()}')}</sasl:response>")
    # <success/> carries no data here: the server proves itself in a last challenge.
    name, data = sasl_next(stream)
    expect(name == "challenge", f"SCRAM got <{name}/>")
    verdict = "v=" + base64.b64encode(sign(sign(salted, b"Server Key"), signed)).decode()
    expect(base64.b64decode(data).decode() == verdict, "the server's signature is wrong")
    stream.send("<sasl:response/>")
    name, _ = sasl_next(stream)
    expect(name == "success", f"SCRAM got <{name}/>")


def talk(stream, args):
    say = lambda to, text: stream.send(
        f"<message type='chat' to={quoteattr(to)}><body>{escape(text)}</body></message>"
    )
    stream.send("<presence/>")
    if args.role == "login":
        stream.send(f"<iq type='get' id='ping' to={quoteattr(stream.domain)}><ping xmlns='urn:xmpp:ping'/></iq>")
    elif args.role == "ask":
        say(args.to, args.text)
    while True:
        stanza = stream.next()
        expect(stanza is not None, "the server ended the stream")
        expect(stanza.tag != f"{{{STREAMS}}}error", f"a stream error came: {ET.tostring(stanza).decode()}")
        kind = stanza.tag.removeprefix("{jabber:client}")
        expect(stanza.get("type") != "error", f"an error came: {ET.tostring(stanza).decode()}")
        if kind == "iq" and stanza.get("id") == "ping":
            expect(stanza.get("type") == "result", "the ping was not answered")
            return
        body = stanza.find("{jabber:client}body")
        if kind == "message" and body is not None:
            print("heard", stanza.get("from"), body.text, flush=True)
            if args.role == "answer":
                say(stanza.get("from"), "re: " + body.text)
            return


def main():
    parser = argparse.ArgumentParser()
    for name in ("role", "jid", "password", "host", "port", "tls", "mechanism", "ca", "cert", "key", "to", "text"):
        parser.add_argument("--" + name)
    args = parser.parse_args()
    stream = Stream(args)
    {"2002": flip_2002, "starttls": flip_rfc6120, "direct": Stream.wrap}[args.tls](stream)
    mechanism = args.mechanism or "iq-auth"
    login_iq(stream) if mechanism == "iq-auth" else login_sasl(stream, mechanism)
    print("mechanism", mechanism)
    print(f"bound {stream.user}@{stream.domain}/{stream.resource}", flush=True)
    talk(stream, args)
    stream.send("</stream:stream>")
    while stream.next() is not None:
        pass
    stream.socket.close()
    print("done", flush=True)


try:
    main()
except (Fault, OSError, ET.ParseError) as fault:
    print(f"{type(fault).__name__}: {fault}", file=sys.stderr)
    sys.exit(1)
