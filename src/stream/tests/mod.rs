//! Tests of the automaton through its own interface: a world around it, a loop that does what it asks for.

mod hardening;
mod modern;
mod old;
mod parked;
mod table;
mod world;
