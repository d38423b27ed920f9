// Logs in with @xmpp/client, and asks or answers; see README.md for what every client here does.
// The certificate is checked: the runner sets NODE_EXTRA_CA_CERTS.

import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The package lies in the runner's scratch folder, not beside this file.
const require = createRequire(process.env.XMPPJS_FOLDER + "/");
const { client, xml } = await import(pathToFileURL(require.resolve("@xmpp/client")).href);

const names = ["role", "jid", "password", "host", "port", "tls", "mechanism", "ca", "cert", "key", "to", "text"];
const { values: args } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: "string" }])) });
const [bare, resource] = args.jid.split("/");
const [username, domain] = bare.split("@");

let used;
const xmpp = client({
  service: `${args.tls === "direct" ? "xmpps" : "xmpp"}://${args.host}:${args.port}`,
  domain,
  resource,
  credentials: async (authenticate, mechanisms, fast, entity) => {
    used = mechanisms.find((name) => !args.mechanism || name === args.mechanism);
    if (!used) throw new Error(`${args.mechanism} is not offered: ${mechanisms}`);
    await authenticate({ username, password: args.password }, used, undefined, fast);
  },
});
xmpp.reconnect.stop();
// Its own two seconds are short for a busy machine.
xmpp.timeout = 30_000;

// The library brings no -PLUS mechanism, but a place to plug one in: SCRAM (RFC 5802, 7677) bound to the channel by what
// OpenSSL exports from it (RFC 9266), which is not the server's TLS library.
const plus = (name, hash, length) =>
  function Mechanism() {
    const nonce = randomBytes(18).toString("base64");
    const hmac = (key, text) => createHmac(hash, key).update(text).digest();
    let first, server;
    this.name = name;
    this.clientFirst = true;
    this.challenge = (text) => {
      server = text;
    };
    this.response = ({ username, password }) => {
      if (server === undefined) {
        first = `n=${username},r=${nonce}`;
        return `p=tls-exporter,,${first}`;
      }
      const { r, s, i } = Object.fromEntries(server.split(",").map((part) => [part[0], part.slice(2)]));
      if (!r.startsWith(nonce)) throw new Error("the nonce is not ours continued");
      const binding = xmpp.socket.socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0));
      const salted = pbkdf2Sync(password, Buffer.from(s, "base64"), Number(i), length, hash);
      const clientKey = hmac(salted, "Client Key");
      const last = `c=${Buffer.concat([Buffer.from("p=tls-exporter,,"), binding]).toString("base64")},r=${r}`;
      const signature = hmac(createHash(hash).update(clientKey).digest(), `${first},${server},${last}`);
      return `${last},p=${clientKey.map((byte, at) => byte ^ signature[at]).toString("base64")}`;
    };
  };
xmpp.saslFactory.use("SCRAM-SHA-256-PLUS", plus("SCRAM-SHA-256-PLUS", "sha256", 32));
xmpp.saslFactory.use("SCRAM-SHA-1-PLUS", plus("SCRAM-SHA-1-PLUS", "sha1", 20));

const fail = (fault) => {
  console.error(fault);
  process.exit(1);
};
setTimeout(() => fail("timeout"), 30_000).unref();
xmpp.on("error", fail);

const end = async () => {
  await xmpp.stop();
  console.log("done");
  process.exit(0);
};

// A friend agrees to what it is asked by the other, and says when it sees the other come and go.
const befriended = async (stanza) => {
  const { from, type } = stanza.attrs;
  if (from.split("/")[0] !== args.to) return;
  if (type === "subscribe") await xmpp.send(xml("presence", { to: args.to, type: "subscribed" }));
  if (type === undefined) console.log("sees", from);
  if (type === "unavailable" && from !== args.to) {
    console.log("lost", from);
    await end();
  }
};

xmpp.on("stanza", async (stanza) => {
  if (stanza.is("presence") && args.role === "friend") return befriended(stanza);
  if (!stanza.is("message")) return;
  const text = stanza.getChildText("body");
  if (stanza.attrs.type === "error") fail(`an error came: ${stanza}`);
  if (text === null) return;
  console.log("heard", stanza.attrs.from, text);
  if (args.role === "answer") {
    await xmpp.send(xml("message", { type: "chat", to: stanza.attrs.from }, xml("body", {}, `re: ${text}`)));
  }
  if (args.role !== "login") await end();
});

xmpp.on("online", async (address) => {
  console.log("mechanism", used);
  console.log("bound", address.toString());
  await xmpp.send(xml("presence"));
  if (args.role === "login") {
    await xmpp.iqCaller.request(xml("iq", { type: "get", to: domain }, xml("ping", "urn:xmpp:ping")), 10_000);
    await end();
  } else if (args.role === "friend") {
    await xmpp.iqCaller.request(xml("iq", { type: "get" }, xml("query", "jabber:iq:roster")), 10_000);
    await xmpp.send(xml("presence", { to: args.to, type: "subscribe" }));
  } else if (args.role === "ask") {
    await xmpp.send(xml("message", { type: "chat", to: args.to }, xml("body", {}, args.text)));
  }
});

xmpp.start().catch(fail);
