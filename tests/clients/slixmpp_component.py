"""A gateway built on slixmpp's ComponentXMPP: it befriends whoever asks, and echoes what is written to it."""

import argparse
import asyncio
import signal
import sys

import slixmpp


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("role", "jid", "password", "host", "port", "tls", "mechanism", "ca"):
        parser.add_argument("--" + name)
    return parser.parse_args()


class Gateway(slixmpp.ComponentXMPP):
    def __init__(self, args):
        super().__init__(args.jid, args.password, args.host, int(args.port))
        self.outcome = asyncio.get_event_loop().create_future()
        # What is answered is said below.
        self.roster.auto_authorize = None
        self.roster.auto_subscribe = None
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0199")
        self.plugin["xep_0030"].add_identity(category="gateway", itype="irc", name="Echo")
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("presence_subscribe", self.asked)
        self.add_event_handler("presence_probe", self.probed)
        self.add_event_handler("message", self.heard)
        for fault in ("connection_failed", "stream_error", "failed_auth"):
            self.add_event_handler(fault, lambda event, fault=fault: self.end(f"{fault}: {event}"))

    async def started(self, _event):
        print("bound", self.boundjid.full, flush=True)
        info = await self.plugin["xep_0030"].get_info(jid="localhost", ifrom=self.boundjid.bare, timeout=10)
        kinds = [identity[:2] for identity in info["disco_info"]["identities"]]
        print("server", *(f"{category}/{kind}" for category, kind in kinds), flush=True)

    def asked(self, presence):
        user, contact = presence["from"].bare, presence["to"].bare
        print("asked", user, contact, flush=True)
        self.send_presence(pto=user, pfrom=contact, ptype="subscribed")
        self.send_presence(pto=user, pfrom=contact, ptype="subscribe")
        self.show(user, contact)

    def probed(self, presence):
        self.show(presence["from"].bare, presence["to"].bare)

    def show(self, user, contact):
        self.send_presence(pto=user, pfrom=f"{contact}/echo", pstatus="listening")

    def heard(self, message):
        if message["type"] == "error":
            return self.end(f"an error came: {message}")
        print("heard", message["from"], message["body"], flush=True)
        self.send_message(mto=message["from"], mfrom=f"{message['to'].bare}/echo", mbody="re: " + message["body"], mtype="chat")

    def end(self, fault):
        if not self.outcome.done():
            self.outcome.set_result(fault)


async def main():
    args = arguments()
    gateway = Gateway(args)
    asyncio.get_event_loop().add_signal_handler(signal.SIGTERM, gateway.end, None)
    gateway.connect()
    fault = await asyncio.wait_for(gateway.outcome, 60)
    if fault is None:
        await asyncio.wait_for(gateway.disconnect(wait=5), 10)
        print("done", flush=True)
    else:
        print(fault, file=sys.stderr, flush=True)
        sys.exit(1)


asyncio.run(main())
