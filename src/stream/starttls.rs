//! STARTTLS: the go-ahead, the refusals, and what the flip leaves behind.
//!
//! ```text
//! starttls ──▶ gate shut, go-ahead written ──Drained──▶ Flip ──Secured──▶ a new stream, nothing remembered
//!         └──▶ trailing bytes, malformed, not offered ──▶ refusal, TCP closed
//! ```
//!
//! What was read together with the request lies in our memory as plaintext; were it kept, an attacker in the middle
//! could put words into the mouth of the client that logs in afterwards. So there is no go-ahead at all then. In the
//! dialect of 2002 the go-ahead *is* `</stream:stream>`: every refusal there must be a stream error first, and TCP must
//! close at once.
//!
//! RFC 6120 §5; XEP-0035 §2.3.

use super::error::{StreamCondition, write_stream_end};
use super::interface::{Ask, CloseHow, Context};
use super::{Dialect, Negotiation, Secured, Stage, StartTls, State, Tries};
use crate::sasl::BindingData;
use crate::transport::TlsInfo;
use crate::xml::{Head, StreamNs};

impl Dialect {
    /// Behind its last byte comes TLS.
    const fn go_ahead(self) -> &'static str {
        match self {
            Self::Rfc6120 => "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            Self::Xep0035 => "</stream:stream>",
        }
    }
}

impl Negotiation {
    /// `<starttls/>` in the stream's own dialect.
    pub(super) fn starttls(&mut self, head: &Head, trailing: bool, cx: &mut Context<'_>) {
        let Some(stream) = &self.stream else { return };
        let is_command = head.child_count() == 0 && !head.has_text();
        match (stream.starttls, stream.dialect) {
            (StartTls::Done, _) => self.fail(cx, StreamCondition::UnsupportedStanzaType, None),
            (StartTls::Offered, dialect) if is_command && !trailing => self.proceed(dialect, cx),
            (StartTls::Offered | StartTls::Unavailable | StartTls::Unasked, Dialect::Rfc6120) => self.refuse_rfc(cx),
            (StartTls::Offered, Dialect::Xep0035) => self.refuse_2002(cx, "Nothing may come with or behind starttls"),
            (StartTls::Unavailable | StartTls::Unasked, Dialect::Xep0035) => {
                let text = self.how_to_ask();
                self.refuse_2002(cx, text);
            }
        }
    }

    fn proceed(&mut self, dialect: Dialect, cx: &mut Context<'_>) {
        cx.asks.push(Ask::ReadGate(false));
        cx.out.extend_from_slice(dialect.go_ahead().as_bytes());
        cx.asks.push(Ask::TellDrained);
        self.state = State::Proceeding;
    }

    /// RFC 6120 §5.4.2.2.
    fn refuse_rfc(&mut self, cx: &mut Context<'_>) {
        cx.out.extend_from_slice(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        write_stream_end(cx.out);
        self.close(cx, CloseHow::AfterFlush);
    }

    fn refuse_2002(&mut self, cx: &mut Context<'_>, text: &str) {
        self.break_off(cx, StreamCondition::PolicyViolation, Some(text), None, CloseHow::AfterFlush);
    }

    /// Anything but STARTTLS on a stream of 2002 that must begin with it.
    pub(super) fn tls_first(&mut self, cx: &mut Context<'_>) {
        let text = self.how_to_ask();
        self.fail(cx, StreamCondition::PolicyViolation, Some(text));
    }

    /// A client of 2002 has no features to read: its developer gets the way in words.
    fn how_to_ask(&self) -> &'static str {
        match self.stream.as_ref().map(|stream| stream.starttls) {
            Some(StartTls::Offered) => {
                "TLS comes first: send <starttls/> in the namespace http://www.ietf.org/rfc/rfc2595.txt"
            }
            Some(StartTls::Unasked) => {
                "TLS comes first: declare xmlns:tls='http://www.ietf.org/rfc/rfc2595.txt' in the stream header and send \
                 <tls:starttls/> (XEP-0035), or say version='1.0' there (RFC 6120)"
            }
            Some(StartTls::Unavailable | StartTls::Done) | None => {
                "TLS comes first, but this domain has no certificate"
            }
        }
    }

    /// The go-ahead has left: the next byte in either direction is TLS. Everything said in the clear is forgotten here.
    pub(super) fn flip(&mut self, cx: &mut Context<'_>) {
        let hint = self.stream.take().map(|stream| stream.domain.into_string());
        self.ns = StreamNs::new();
        self.tries = Tries::default();
        cx.asks.push(Ask::Flip { hint });
        self.state = State::Handshaking;
    }

    /// The handshake is complete; a new stream begins.
    pub(super) fn secured(&mut self, mut info: TlsInfo, cx: &mut Context<'_>) {
        let bindings = BindingData { exporter: info.exporter, server_end_point: info.server_end_point.take() };
        let chain = info.peer_chain.take().unwrap_or_default();
        info.wipe();
        self.stage = Stage::Secure(Box::new(Secured { bindings, chain }));
        cx.asks.push(Ask::NewStream);
        cx.asks.push(Ask::ReadGate(true));
        self.state = State::Opening;
    }
}
