"""Two people and three clients of slixmpp live through a roster; see README.md.

Contacts added, renamed and removed with their pushes, versions, subscriptions both ways, presence of contacts and of
the own second resource, unavailable when a client goes, and a message for somebody who is away.
"""

import argparse
import asyncio
import sys

import slixmpp

WAIT_SECONDS_MAX = 15


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("role", "jid", "password", "host", "port", "tls", "mechanism", "ca", "to", "to-password"):
        parser.add_argument("--" + name)
    return parser.parse_args()


class Client(slixmpp.ClientXMPP):
    def __init__(self, args, jid, password):
        super().__init__(jid, password)
        self.args, self.name = args, jid
        self.ca_certs = args.ca
        self.enable_direct_tls, self.enable_plaintext = False, False
        # What comes is answered by the script below, not by the library.
        self.auto_authorize, self.auto_subscribe = None, False
        self.register_plugin("xep_0199")
        self.register_plugin("xep_0203")
        self.asked, self.messages = [], []
        self.online = asyncio.get_event_loop().create_future()
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("presence_subscribe", lambda presence: self.asked.append(presence["from"].bare))
        self.add_event_handler("message", self.messages.append)
        for fault in ("connection_failed", "failed_all_auth", "stream_error"):
            self.add_event_handler(fault, lambda event, fault=fault: self.failed(f"{fault}: {event}"))

    def failed(self, fault):
        if not self.online.done():
            self.online.set_exception(RuntimeError(f"{self.name}: {fault}"))

    async def started(self, _event):
        await self.get_roster()
        self.send_presence()
        # What the server has sent before the answer is here when it comes.
        await self.plugin["xep_0199"].send_ping(self.boundjid.domain, timeout=10)
        self.online.set_result(None)

    async def begin(self):
        self.connect(self.args.host, int(self.args.port))
        await asyncio.wait_for(self.online, WAIT_SECONDS_MAX)
        return self

    def item(self, contact):
        """What the client's copy of the roster says: subscription, ask, name, groups; none if it is not there."""
        if contact not in self.client_roster:
            return None
        item = self.client_roster[contact]
        return item["subscription"], item["pending_out"], item["name"], list(item["groups"])

    def resources(self, contact):
        return self.client_roster[contact].resources

    def shows(self, contact, resource):
        presence = self.resources(contact).get(resource)
        return presence and (presence["show"], presence["status"])


async def until(what, is_so):
    """Waits for what the server is to bring about."""
    for _ in range(WAIT_SECONDS_MAX * 50):
        if is_so():
            return
        await asyncio.sleep(0.02)
    raise RuntimeError(f"this did not come: {what}")


async def befriend(one, other):
    """`one` asks, `other` agrees."""
    mine, theirs = one.boundjid.bare, other.boundjid.bare
    one.send_presence_subscription(pto=theirs, ptype="subscribe")
    await until(f"{theirs} is asked by {mine}", lambda: mine in other.asked)
    await until(f"{mine} waits for {theirs}", lambda: one.item(theirs)[1])
    other.send_presence_subscription(pto=mine, ptype="subscribed")
    await until(f"{mine} may see {theirs}", lambda: one.item(theirs)[0] in ("to", "both"))
    await until(f"{theirs} is seen by {mine}", lambda: other.item(mine)[0] in ("from", "both"))
    await until(f"{mine} sees {theirs}", lambda: other.boundjid.resource in one.resources(theirs))


async def story(args):
    alice_jid, bob_jid = args.jid.split("/")[0], args.to
    one = await Client(args, f"{alice_jid}/one", args.password).begin()
    bob = await Client(args, f"{bob_jid}/desk", args.to_password).begin()
    print("mechanism", one.plugin["feature_mechanisms"].mech.name, flush=True)
    print("bound", one.boundjid.full, flush=True)

    await one.update_roster(bob_jid, name="Bob & co", groups=["Friends"])
    await until("a push of the new contact", lambda: one.item(bob_jid) == ("none", False, "Bob & co", ["Friends"]))
    await befriend(one, bob)
    await befriend(bob, one)
    await until("both see both", lambda: one.item(bob_jid)[0] == bob.item(alice_jid)[0] == "both")
    print("befriended", flush=True)

    bob.send_presence(pshow="away", pstatus="tea")
    await until("bob's new presence", lambda: one.shows(bob_jid, "desk") == ("away", "tea"))
    two = await Client(args, f"{alice_jid}/two", args.password).begin()
    await until("the contact at the second resource", lambda: two.item(bob_jid) == ("both", False, "Bob & co", ["Friends"]))
    await until("bob's presence at the second resource", lambda: two.shows(bob_jid, "desk") == ("away", "tea"))
    await until("the second resource at the first", lambda: "two" in one.resources(alice_jid))
    await until("the first resource at the second", lambda: "one" in two.resources(alice_jid))
    await until("both at bob", lambda: {"one", "two"} <= set(bob.resources(alice_jid)))

    before = one.client_roster.version
    await two.update_roster(bob_jid, name="Robert", groups=[])
    await until("a push at the other resource", lambda: one.item(bob_jid) == ("both", False, "Robert", []))
    if not before or one.client_roster.version == before or one.client_roster.version != two.client_roster.version:
        raise RuntimeError(f"versions: {before}, {one.client_roster.version}, {two.client_roster.version}")
    answer = await one.get_roster()
    # The library puts an empty query where there was none.
    query = answer.xml.find("{jabber:iq:roster}query")
    if query is not None and (query.get("ver") or len(query)):
        raise RuntimeError(f"the roster has not changed since: {answer}")
    print("renamed", one.client_roster.version, flush=True)

    await two.disconnect(wait=5)
    await until("the second resource's end at the first", lambda: "two" not in one.resources(alice_jid))
    await until("the second resource's end at bob", lambda: set(bob.resources(alice_jid)) == {"one"})
    # Without a word: what breaks off ends as well.
    bob.abort()
    await until("bob's end", lambda: not one.resources(bob_jid))
    one.send_message(mto=bob_jid, mbody="later", mtype="chat")
    await one.plugin["xep_0199"].send_ping(one.boundjid.domain, timeout=10)
    bob = await Client(args, f"{bob_jid}/desk", args.to_password).begin()
    await until("the message that has waited", lambda: [m["body"] for m in bob.messages] == ["later"])
    if not bob.messages[0]["delay"]["stamp"]:
        raise RuntimeError("it has no stamp")
    await until("bob again", lambda: "desk" in one.resources(bob_jid))
    print("returned", flush=True)

    await one.del_roster_item(bob_jid)
    await until("the contact's end", lambda: one.item(bob_jid) is None or one.item(bob_jid)[0] in ("none", "remove"))
    await until("the end of both subscriptions", lambda: bob.item(alice_jid)[0] == "none")
    await until("nobody at bob", lambda: not bob.resources(alice_jid))
    await bob.del_roster_item(alice_jid)
    for client in (one, bob):
        await client.disconnect(wait=5)


async def main():
    args = arguments()
    try:
        await asyncio.wait_for(story(args), 40)
    except Exception as fault:
        print(repr(fault), file=sys.stderr, flush=True)
        sys.exit(1)
    print("done", flush=True)


asyncio.run(main())
