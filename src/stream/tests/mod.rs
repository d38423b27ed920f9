//! Tests of the automaton through its own interface: a world around it, a loop that does what it asks for.

mod hardening;
mod parked;
mod rfc_bind;
mod rfc_headers;
mod rfc_sasl;
mod rfc_starttls;
mod table;
mod walks;
mod words;
mod world;
mod xep_0034;
mod xep_0035;
mod xep_0078;
