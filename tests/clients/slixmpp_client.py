"""Logs in with slixmpp, and asks or answers; see README.md for what every client here does."""

import argparse
import asyncio
import ssl
import sys

import slixmpp
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatcherId


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("role", "jid", "password", "host", "port", "tls", "mechanism", "ca", "cert", "key", "to", "text", "token"):
        parser.add_argument("--" + name)
    parser.add_argument("--tls-max", choices=("1.2", "1.3"), default="1.3")
    return parser.parse_args()


class Client(slixmpp.ClientXMPP):
    def __init__(self, args):
        super().__init__(args.jid, args.password or "")
        self.args = args
        self.outcome = asyncio.get_event_loop().create_future()
        self.used = None
        self.has_written = False
        self.ca_certs = args.ca
        if args.cert:
            self.certfile, self.keyfile = args.cert, args.key
        if args.tls_max == "1.2":
            self.ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.enable_direct_tls = args.tls == "direct"
        self.enable_starttls = args.tls == "starttls"
        self.enable_plaintext = False
        if args.tls == "direct":
            self.ssl_context.set_alpn_protocols(["xmpp-client"])
        self.plugin["feature_mechanisms"].use_mech = args.mechanism
        self.register_plugin("xep_0199")
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0203")
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("message", self.heard)
        self.add_event_handler("auth_success", self.note_mechanism)
        if args.role == "befriend":
            self.add_event_handler("presence_subscribed", lambda presence: print("subscribed", presence["from"], flush=True))
            self.add_event_handler("roster_update", self.noted)
            self.add_event_handler("presence_available", self.saw)
            self.add_event_handler("presence_unavailable", self.lost)
        self.add_event_handler("got_online", self.seen)
        for fault in ("connection_failed", "failed_all_auth", "stream_error", "ssl_invalid_chain", "no_auth"):
            self.add_event_handler(fault, lambda event, fault=fault: self.end(f"{fault}: {event}"))

        if args.token:
            self.register_plugin("xep_0077")
            self.add_event_handler("register", self.register)

    async def register(self, _form):
        """XEP-0445 §3: the invitation first, then the account."""
        try:
            # The library keeps what it does not know back until there is a session: so it is sent as text.
            shown = asyncio.get_running_loop().create_future()
            self.register_handler(Callback("invitation", MatcherId("shown"), shown.set_result, once=True))
            self.send_raw(f"<iq type='set' id='shown'><preauth xmlns='urn:xmpp:pars:0' token='{self.args.token}'/></iq>")
            answer = await asyncio.wait_for(shown, 10)
            if answer["type"] != "result":
                return self.end(f"the invitation is refused: {answer}")
            account = self.make_iq_set()
            account["register"]["username"] = self.boundjid.user
            account["register"]["password"] = self.args.password
            await account.send(timeout=10)
            print("registered", self.boundjid.bare, flush=True)
        except Exception as error:
            self.end(repr(error))

    def note_mechanism(self, _event):
        self.used = self.plugin["feature_mechanisms"].mech.name

    async def started(self, _event):
        print("mechanism", self.used, flush=True)
        print("bound", self.boundjid.full, flush=True)
        self.send_presence()
        try:
            if self.args.role == "login":
                await self.plugin["xep_0199"].send_ping(self.boundjid.domain, timeout=10)
                info = await self.plugin["xep_0030"].get_info(jid=self.boundjid.domain, timeout=10)
                if not any(identity[:2] == ("server", "im") for identity in info["disco_info"]["identities"]):
                    return self.end(f"no server/im identity: {info}")
                self.end(None)
            elif self.args.role == "friend":
                # The library agrees to what it is asked, and asks in turn, by itself.
                await self.get_roster()
            elif self.args.role == "ask":
                self.send_message(mto=self.args.to, mbody=self.args.text, mtype="chat")
            elif self.args.role == "befriend":
                items = await self.plugin["xep_0030"].get_items(jid=self.boundjid.domain, timeout=10)
                print("items", *(item[0] for item in items["disco_items"]["items"]), flush=True)
                await self.get_roster()
                self.send_presence_subscription(pto=self.args.to, ptype="subscribe")
            elif self.args.role == "leave":
                self.send_message(mto=self.args.to, mbody=self.args.text, mtype="chat")
                # The answer to a ping comes behind the message: the server has it.
                await self.plugin["xep_0199"].send_ping(self.boundjid.domain, timeout=10)
                self.end(None)
        except Exception as error:
            self.end(repr(error))

    def noted(self, _push):
        print("roster", self.client_roster[self.args.to]["subscription"], flush=True)

    def saw(self, presence):
        if presence["from"].bare == self.args.to:
            print("saw", presence["from"], presence["status"], flush=True)
            if not self.has_written:
                self.has_written = True
                self.send_message(mto=presence["from"], mbody=self.args.text, mtype="chat")

    def lost(self, presence):
        if presence["from"].bare == self.args.to:
            print("lost", presence["from"], self.client_roster[self.args.to]["subscription"], flush=True)
            self.end(None)

    def seen(self, presence):
        if self.args.role == "friend" and presence["from"].bare == self.args.to:
            print("sees", presence["from"], flush=True)
            self.end(None)

    def heard(self, message):
        if message["type"] == "error":
            return self.end(f"an error came: {message}")
        print("heard", message["from"], message["body"], flush=True)
        if self.args.role == "collect":
            print("delayed", message["delay"]["from"], message["delay"]["stamp"].isoformat(), flush=True)
        if self.args.role == "answer":
            self.send_message(mto=message["from"], mbody="re: " + message["body"], mtype="chat")
        if self.args.role != "befriend":
            self.end(None)

    def end(self, fault):
        if not self.outcome.done():
            self.outcome.set_result(fault)


async def main():
    args = arguments()
    client = Client(args)
    client.connect(args.host, int(args.port))
    fault = await asyncio.wait_for(client.outcome, 30)
    if fault is None:
        # The closing handshake: the server must answer </stream:stream>.
        await asyncio.wait_for(client.disconnect(wait=5), 10)
        print("done", flush=True)
    else:
        print(fault, file=sys.stderr, flush=True)
        sys.exit(1)


asyncio.run(main())
