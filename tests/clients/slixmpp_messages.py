"""Two accounts that use what a desktop client expects beside messages, by slixmpp's plugins; prints each step."""

import argparse
import asyncio
import hashlib
import ssl
import sys
import xml.etree.ElementTree as ET

import slixmpp
from slixmpp.exceptions import IqError

PLUGINS = ("0012", "0030", "0049", "0054", "0115", "0153", "0191", "0199", "0202", "0092", "0203", "0048", "0184")
SERVER = "localhost"
SECONDS = 10


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("role", "jid", "password", "host", "port", "tls", "mechanism", "ca", "to", "other-password"):
        parser.add_argument("--" + name)
    return parser.parse_args()


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid, password, args):
        super().__init__(jid, password)
        self.ca_certs = args.ca
        self.enable_direct_tls, self.enable_plaintext = False, False
        for number in PLUGINS:
            self.register_plugin("xep_" + number)
        self.plugin["xep_0199"].enable_keepalive(interval=5, timeout=5)
        self.ready = asyncio.get_event_loop().create_future()
        self.messages, self.presences, self.pushes = asyncio.Queue(), asyncio.Queue(), asyncio.Queue()
        self.add_event_handler("session_start", lambda _: self.ready.done() or self.ready.set_result(None))
        self.add_event_handler("message", self.messages.put_nowait)
        self.add_event_handler("message_error", self.messages.put_nowait)
        for kind in ("presence_available", "presence_unavailable"):
            self.add_event_handler(kind, self.presences.put_nowait)
        for kind in ("blocked", "unblocked"):
            self.add_event_handler(kind, lambda iq, kind=kind: self.pushes.put_nowait((kind, iq)))
        for fault in ("connection_failed", "failed_all_auth", "stream_error", "ssl_invalid_chain", "no_auth"):
            self.add_event_handler(fault, lambda event, fault=fault: fail(f"{fault}: {event}"))

    async def begin(self, args):
        self.connect(args.host, int(args.port))
        await asyncio.wait_for(self.ready, SECONDS)
        return self

    async def next(self, queue, wanted=lambda _: True):
        """The next one that fits; others are let go."""
        async def fitting():
            while not wanted(one := await queue.get()):
                pass
            return one
        return await asyncio.wait_for(fitting(), SECONDS)

    async def in_step(self):
        """What was sent before has arrived."""
        await self.plugin["xep_0199"].send_ping(SERVER, timeout=SECONDS)


def fail(why):
    print(why, file=sys.stderr, flush=True)
    raise SystemExit(1)


def check(is_right, what):
    if not is_right:
        raise AssertionError(what)


async def refused(coroutine, condition):
    try:
        answer = await coroutine
    except IqError as error:
        check(error.condition == condition, f"{error.condition}, not {condition}")
    else:
        raise AssertionError(f"not refused: {answer}")


async def befriend(alice, bob):
    for one, other in ((alice, bob), (bob, alice)):
        one.auto_authorize = one.auto_subscribe = None
        other.add_event_handler("presence_subscribe", lambda presence, other=other: other.send_presence(
            pto=presence["from"].bare, ptype="subscribed"))
    for one, other in ((alice, bob), (bob, alice)):
        seen = lambda presence, other=other: presence["from"].bare == other.boundjid.bare
        one.send_presence(pto=other.boundjid.bare, ptype="subscribe")
        await one.next(one.presences, seen)


async def discovery(alice, bob):
    disco, caps = alice.plugin["xep_0030"], alice.plugin["xep_0115"]
    info = (await disco.get_info(jid=SERVER, timeout=SECONDS))["disco_info"]
    check(("server", "im") in {identity[:2] for identity in info["identities"]}, info)
    wanted = {"urn:xmpp:blocking", "vcard-temp", "jabber:iq:private", "jabber:iq:last", "msgoffline", "urn:xmpp:ping"}
    check(wanted <= info["features"], wanted - info["features"])
    account = (await disco.get_info(jid=alice.boundjid.bare, timeout=SECONDS))["disco_info"]
    check(("account", "registered") in {identity[:2] for identity in account["identities"]}, account)
    check(not (await disco.get_items(jid=alice.boundjid.bare, timeout=SECONDS))["disco_items"]["items"], "items")
    # slixmpp computes the hash itself and has kept what the server announced.
    ver = alice.announced["ver"]
    check(alice.announced["node"] and alice.announced["hash"] == "sha-1", alice.announced)
    check(caps.generate_verstring(info, "sha-1") == ver, f"{ver} is not the hash of {info}")
    node = f"{alice.announced['node']}#{ver}"
    told = (await disco.get_info(jid=SERVER, node=node, timeout=SECONDS))["disco_info"]
    check(told["node"] == node and told["features"] == info["features"], told)


async def queries(alice, bob):
    check(await alice.plugin["xep_0199"].ping(SERVER, timeout=SECONDS) < SECONDS, "ping")
    check((await alice.plugin["xep_0092"].get_version(SERVER, timeout=SECONDS))["software_version"]["name"], "version")
    # Its own reader (1.17) appends a second Z.
    time = await alice.plugin["xep_0202"].get_entity_time(SERVER, timeout=SECONDS)
    check(time.xml.findtext(".//{urn:xmpp:time}utc").endswith("Z"), time)
    last = alice.plugin["xep_0012"]
    check((await last.get_last_activity(SERVER, timeout=SECONDS))["last_activity"]["seconds"] >= 0, "uptime")
    check((await last.get_last_activity(bob.boundjid.bare, timeout=SECONDS))["last_activity"]["seconds"] == 0, "bob")
    await refused(last.get_last_activity("carol@localhost", timeout=SECONDS), "forbidden")
    await refused(last.get_last_activity("nobody@localhost", timeout=SECONDS), "forbidden")


async def vcards(alice, bob):
    picture = bytes(range(256)) * 20
    card = alice.plugin["xep_0054"].make_vcard()
    card["FN"], card["NICKNAME"] = "Alice Müller & Co", "al"
    await alice.plugin["xep_0054"].publish_vcard(card, timeout=SECONDS)
    await alice.plugin["xep_0153"].set_avatar(avatar=picture, mtype="image/png", timeout=SECONDS)
    seen = lambda presence: presence["from"].bare == alice.boundjid.bare and presence["vcard_temp_update"]["photo"]
    presence = await bob.next(bob.presences, seen)
    check(presence["vcard_temp_update"]["photo"] == hashlib.sha1(picture).hexdigest(), presence)
    got = (await bob.plugin["xep_0054"].get_vcard(alice.boundjid.bare, timeout=SECONDS))["vcard_temp"]
    check(got["FN"] == "Alice Müller & Co" and got["PHOTO"]["BINVAL"] == picture, str(got)[:300])
    for unknown in ("carol@localhost", "nobody@localhost"):
        await refused(bob.plugin["xep_0054"].get_vcard(unknown, timeout=SECONDS), "service-unavailable")


async def bookmarks(alice, bob):
    marks = slixmpp.plugins.xep_0048.stanza.Bookmarks()
    marks.add_conference("tea@rooms.localhost", "Alice", autojoin=True, name="Tea & talk")
    await alice.plugin["xep_0049"].store(marks, timeout=SECONDS)
    kept = await alice.plugin["xep_0049"].retrieve("bookmarks", timeout=SECONDS)
    rooms = [(room["jid"], room["nick"], room["name"]) for room in kept["private"]["bookmarks"]["conferences"]]
    check(rooms == [("tea@rooms.localhost", "Alice", "Tea & talk")], rooms)
    # PEP is not there; who asks for bookmarks there must be told so at once.
    iq = alice.make_iq_get()
    iq.append(ET.fromstring("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='storage:bookmarks'/></pubsub>"))
    await refused(iq.send(timeout=SECONDS), "service-unavailable")


async def blocking(alice, bob):
    plugin, mine = alice.plugin["xep_0191"], lambda presence: presence["from"].bare == alice.boundjid.bare
    check(not (await plugin.get_blocked(timeout=SECONDS))["blocklist"]["items"], "nobody is blocked")
    await plugin.block(bob.boundjid.bare, timeout=SECONDS)
    kind, push = await alice.next(alice.pushes)
    check(kind == "blocked" and bob.boundjid.bare in str(push), push)
    await bob.next(bob.presences, lambda presence: mine(presence) and presence["type"] == "unavailable")
    bob.send_message(mto=alice.boundjid.bare, mbody="hello?", mtype="chat")
    error = await bob.next(bob.messages)
    check(error["type"] == "error" and error["error"]["condition"] == "service-unavailable", error)
    alice.send_message(mto=bob.boundjid.bare, mbody="I", mtype="chat")
    error = await alice.next(alice.messages)
    check(error["error"]["condition"] == "not-acceptable" and "urn:xmpp:blocking:errors" in str(error), error)
    while not alice.presences.empty():
        alice.presences.get_nowait()
    await plugin.unblock(bob.boundjid.bare, timeout=SECONDS)
    kind, push = await alice.next(alice.pushes)
    check(kind == "unblocked" and bob.boundjid.bare in str(push), push)
    check((await bob.next(bob.presences, mine))["type"] == "available", "alice is back")
    check((await alice.next(alice.presences, lambda p: p["from"].bare == bob.boundjid.bare))["type"] == "available", "bob")
    bob.send_message(mto=alice.boundjid.bare, mbody="again", mtype="chat")
    check((await alice.next(alice.messages))["body"] == "again", "heard")


async def away(alice, bob, args):
    """Bob goes; what he is sent waits, with a stamp; his absence is told to his friend."""
    bob.send_presence(ptype="unavailable", pstatus="off to Mantua")
    await alice.next(alice.presences, lambda p: p["from"].bare == bob.boundjid.bare and p["type"] == "unavailable")
    await bob.disconnect(wait=5)
    for number in range(3):
        alice.send_message(mto=bob.boundjid.bare, mbody=f"letter {number}", mtype="chat")
    await alice.in_step()
    last = (await alice.plugin["xep_0012"].get_last_activity(bob.boundjid.bare, timeout=SECONDS))["last_activity"]
    check(last["status"] == "off to Mantua" and last["seconds"] < 60, last)
    again = await Client(args.to + "/again", args.other_password, args).begin(args)
    again.send_presence()
    for number in range(3):
        letter = await again.next(again.messages)
        check(letter["body"] == f"letter {number}" and letter["delay"]["from"] == SERVER, letter)
    return again


async def main():
    args = arguments()
    alice, bob = (Client(jid, password, args) for jid, password in ((args.jid, args.password), (args.to + "/desk", args.other_password)))
    caps = lambda features: setattr(alice, "announced", features["caps"])
    features = slixmpp.xmlstream.handler.Callback(
        "announced", slixmpp.xmlstream.matcher.MatchXPath(f"{{http://etherx.jabber.org/streams}}features"), caps)
    alice.register_handler(features)
    for client in (alice, bob):
        await client.begin(args)
        await client.get_roster(timeout=SECONDS)
        client.send_presence()
    await befriend(alice, bob)
    for step in (discovery, queries, vcards, bookmarks, blocking):
        await step(alice, bob)
        print("step", step.__name__, flush=True)
    bob = await away(alice, bob, args)
    print("step", "away", flush=True)
    for client in (alice, bob):
        await asyncio.wait_for(client.disconnect(wait=5), SECONDS)
    print("done", flush=True)


try:
    asyncio.run(main())
except Exception as error:
    fail(repr(error))
